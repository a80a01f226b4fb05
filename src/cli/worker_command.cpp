// tenon worker: the process that serves a session to the program that started it
// (--worker_process).
// SPDX-License-Identifier: Apache-2.0
#include "api/worker_process.h"
#include "api/worker_server.h"
#include "cli/commands.h"
#include "core/check.h"

namespace tenon::cli {

int worker_command(const Arguments& arguments) {
  TENON_CHECK(arguments.empty(), ErrorCode::kInvalidArgument,
              "worker: takes no arguments; --worker_process starts it");
  serve_worker(kWorkerSocket);
}

}  // namespace tenon::cli
