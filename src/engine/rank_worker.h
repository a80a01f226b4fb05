// RankWorker: the thread that serves one rank of a session. Work is done in the order it is posted;
// the first failure is kept and every later piece of work is refused with it, until it is
// forgotten.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

namespace tenon {

class RankWorker {
 public:
  /// `on_failure` runs on the worker's thread when a piece of work throws: it frees ranks that wait
  /// for this one.
  explicit RankWorker(std::function<void()> on_failure);
  ~RankWorker();
  RankWorker(const RankWorker&) = delete;
  RankWorker& operator=(const RankWorker&) = delete;

  std::future<void> post(std::function<void()> work);

  /// A piece of work threw and its failure is not forgotten yet. From any thread.
  bool failed() const { return failed_; }
  /// What is posted after this is done again. Ready when all work posted before is over.
  std::future<void> forget_failure();

 private:
  void loop();
  std::future<void> enqueue(std::packaged_task<void()> task);
  [[noreturn]] void refuse() const;

  std::function<void()> on_failure_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::packaged_task<void()>> queue_;
  std::exception_ptr failure_;  // of the worker's thread alone
  std::atomic<bool> failed_{false};
  bool stop_ = false;
  std::thread thread_;
};

/// Waits for all, then rethrows the first failure: a cause rather than a cancellation that followed
/// from it.
void wait_all(std::vector<std::future<void>>& pending);

}  // namespace tenon
