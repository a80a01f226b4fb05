// WorkerProcess: a process of the program `tenon worker`, its socket, and what it says on standard
// error, which goes on to ours. It ends with this process, however that ends.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

namespace tenon {

/// Where a worker finds its socket.
inline constexpr int kWorkerSocket = 3;

/// `wanted`, or where that is empty: the running program where it is `tenon`, the one beside
/// libtenon or in the bin folder of its prefix, the first on PATH. Throws Error{kNotFound} with
/// where it was looked for.
std::string find_worker_program(const std::string& wanted);

class WorkerProcess {
 public:
  /// Throws Error{kIo} where the system starts no process.
  explicit WorkerProcess(const std::string& program);
  /// Kills it where it still runs.
  ~WorkerProcess();
  WorkerProcess(const WorkerProcess&) = delete;
  WorkerProcess& operator=(const WorkerProcess&) = delete;

  /// Our end, to be closed by who takes it. Once.
  int take_socket();
  pid_t id() const { return id_; }

  enum class Patience : std::uint8_t { kNone, kSome };
  /// Waits for its end, which must be near, and kills it where patience ends. Says how it ended,
  /// "was ended by signal 11 (Segmentation fault)", with the last that it wrote on standard error.
  std::string end(Patience patience = Patience::kSome);

 private:
  void relay();
  int wait_or_kill(Patience patience);

  pid_t id_ = -1;
  int socket_ = -1;
  int errors_ = -1;
  int spawn_error_ = 0;
  bool killed_ = false;  // by end()
  std::string ended_;    // what end() said
  std::mutex mutex_;
  std::string last_words_;
  std::thread thread_;
};

}  // namespace tenon
