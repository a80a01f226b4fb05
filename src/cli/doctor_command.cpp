#include "cli/commands.h"
namespace tenon::cli { int doctor_command(const Arguments&) { return 1; } }
