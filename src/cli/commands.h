// The subcommands of `tenon`, one file each: NAME_command.cpp. Each returns the exit code or throws
// Error, which main turns into one.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace tenon::cli {

using Arguments = std::vector<std::string>;

int convert_command(const Arguments& arguments);
int build_command(const Arguments& arguments);
int run_command(const Arguments& arguments);
int chat_command(const Arguments& arguments);
int bench_command(const Arguments& arguments);
int eval_command(const Arguments& arguments);
int inspect_command(const Arguments& arguments);
int plan_command(const Arguments& arguments);
int doctor_command(const Arguments& arguments);
int cache_command(const Arguments& arguments);
/// Not listed: --worker_process starts it.
int worker_command(const Arguments& arguments);

/// Exit codes by kind of fault: 2 usage, 3 not found, 4 input/output, 5 damaged file, 6 not
/// supported, 7 out of memory or room, 70 a bug, 130 interrupted.
struct Command {
  const char* name;
  const char* summary;
  int (*run)(const Arguments& arguments);
};

}  // namespace tenon::cli
