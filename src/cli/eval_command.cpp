#include "cli/commands.h"
namespace tenon::cli { int eval_command(const Arguments&) { return 1; } }
