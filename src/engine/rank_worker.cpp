// SPDX-License-Identifier: Apache-2.0
#include "engine/rank_worker.h"

#include <string>
#include <utility>
#include <vector>

#include "tenon/error.h"

namespace tenon {

RankWorker::RankWorker(std::function<void()> on_failure)
    : on_failure_(std::move(on_failure)), thread_([this] { loop(); }) {}

RankWorker::~RankWorker() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

std::future<void> RankWorker::post(std::function<void()> work) {
  return enqueue(std::packaged_task<void()>([this, work = std::move(work)]() mutable {
    // What the work holds goes with it: it may hold the step that holds the task's future.
    const std::function<void()> mine = std::exchange(work, nullptr);
    if (failure_) refuse();
    try {
      mine();
    } catch (...) {
      failure_ = std::current_exception();
      failed_ = true;
      on_failure_();
      throw;
    }
  }));
}

std::future<void> RankWorker::forget_failure() {
  return enqueue(std::packaged_task<void()>([this] {
    failure_ = nullptr;
    failed_ = false;
  }));
}

std::future<void> RankWorker::enqueue(std::packaged_task<void()> task) {
  std::future<void> result = task.get_future();
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(task));
  }
  wake_.notify_one();
  return result;
}

/// After a failure the ranks no longer agree on what they do.
void RankWorker::refuse() const {
  try {
    std::rethrow_exception(failure_);
  } catch (const std::exception& error) {
    throw Error(ErrorCode::kCancelled,
                std::string("the step before this one failed on a rank: ") + error.what());
  }
}

void RankWorker::loop() {
  while (true) {
    std::packaged_task<void()> task;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stop_ || !queue_.empty(); });
      if (queue_.empty()) return;
      task = std::move(queue_.front());
      queue_.pop_front();
    }
    task();
  }
}

void wait_all(std::vector<std::future<void>>& pending) {
  std::exception_ptr cause;
  std::exception_ptr cancellation;
  for (std::future<void>& one : pending) {
    try {
      one.get();
    } catch (const Error& error) {
      std::exception_ptr& first = error.code() == ErrorCode::kCancelled ? cancellation : cause;
      if (!first) first = std::current_exception();
    } catch (...) {
      if (!cause) cause = std::current_exception();
    }
  }
  if (cause) std::rethrow_exception(cause);
  if (cancellation) std::rethrow_exception(cancellation);
}

}  // namespace tenon
