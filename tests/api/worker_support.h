// Runs with a worker process, for tests.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <signal.h>
#include <stdlib.h>
#include <sys/types.h>

#include <filesystem>
#include <string>

#include "fixture.h"
#include "tenon/llm.h"

namespace tenon::test {

inline LlmOptions worker_options() {
  LlmOptions options = tiny_options();
  options.threads = 1;
  options.deterministic = true;  // bits do not depend on who else was in a step
  options.executor.worker_process = true;
  options.executor.worker_executable = TENON_FAULTY_WORKER;
  return options;
}

/// While it lives, workers that are started fail so: faulty_worker.cpp.
class WithFault {
 public:
  explicit WithFault(const std::string& fault) { ::setenv("TENON_TEST_FAULT", fault.c_str(), 1); }
  ~WithFault() { ::unsetenv("TENON_TEST_FAULT"); }
  WithFault(const WithFault&) = delete;
  WithFault& operator=(const WithFault&) = delete;
};

/// The process that "…, in worker process 123" names.
inline pid_t worker_named_in(const std::string& text) {
  const std::string mark = "in worker process ";
  const std::size_t at = text.find(mark);
  EXPECT_NE(at, std::string::npos) << text;
  return at == std::string::npos ? -1 : std::stoi(text.substr(at + mark.size()));
}

/// Entries of /proc/self/NAME: "fd", "task".
inline std::size_t own_entries(const std::string& name) {
  std::size_t count = 0;
  const std::filesystem::directory_iterator all("/proc/self/" + name);
  for (auto it = begin(all); it != end(all); ++it) ++count;
  return count;
}

/// Whether it runs: a process that ended and was not waited for does not.
bool process_runs(pid_t process);

}  // namespace tenon::test
