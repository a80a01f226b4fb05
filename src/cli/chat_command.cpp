#include "cli/commands.h"
namespace tenon::cli { int chat_command(const Arguments&) { return 1; } }
