#include "cli/commands.h"
namespace tenon::cli { int inspect_command(const Arguments&) { return 1; } }
