// One pool of threads, each pinned to a physical core where asked. The caller works too, so a pool
// of one has no threads of its own. Workers spin shortly between jobs: decode steps issue hundreds
// of small jobs a token.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace tenon {

class ThreadPool {
 public:
  struct Options {
    int threads = 0;  ///< 0: what available_cores() says
    bool pin = true;
    std::vector<int> cores;  ///< to pin to; empty: physical cores allowed to this process
  };

  explicit ThreadPool(const Options& options);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const;

  /// Calls body(index, worker) for every index in [0, count); workers take indices one after
  /// another. Returns when all are done. An exception of a body is rethrown here (one of them).
  /// One caller at a time.
  void run(std::int64_t count, const std::function<void(std::int64_t index, int worker)>& body);

  /// Cuts [0, total) into at most size() runs of at least `grain`, one a worker, in a fixed way.
  void run_ranges(
      std::int64_t total, std::int64_t grain,
      const std::function<void(std::int64_t begin, std::int64_t end, int worker)>& body);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Logical processors to pin to, one per physical core, within the affinity mask.
std::vector<int> physical_cores();

/// The cores of such a pool, one a thread; empty: none is pinned. The pool pins its own threads,
/// not its caller.
std::vector<int> pinned_cores(const ThreadPool::Options& options);
/// The calling thread runs on these cores alone; empty: changes nothing. A refusal costs speed
/// alone.
void keep_this_thread_on(const std::vector<int>& cores);

/// Cores' worth of time that the control group (cgroup) grants; 0: no limit.
double cpu_quota();

/// Threads worth starting: physical cores, less where a container's CPU limit (cgroup) is lower.
int available_cores();

}  // namespace tenon
