// Deliveries: what one call hears of its requests, carried from the executor's thread to the thread
// that asked. A caller that is slow or throws holds nobody else up.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>

#include "tenon/llm.h"

namespace tenon {

/// A piece of text and how far its sample had come with it.
struct Delivery {
  TextDelta delta;
  std::size_t tokens = 0;  ///< of the sample, this piece included
  std::size_t bytes = 0;   ///< of its text
};

class Deliveries {
 public:
  using Deadline = std::optional<std::chrono::steady_clock::time_point>;

  void add(int samples) {
    const std::lock_guard lock(mutex_);
    running_ += samples;
  }
  void finish_one() {
    const std::lock_guard lock(mutex_);
    --running_;
    wake_.notify_all();
  }
  void post(Delivery delivery) {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(delivery));
    wake_.notify_all();
  }
  /// Nothing once all samples have ended and every piece was taken, or at the deadline.
  std::optional<Delivery> next(const Deadline& deadline = std::nullopt) {
    std::unique_lock lock(mutex_);
    const auto something = [this] { return !queue_.empty() || running_ == 0; };
    if (!deadline)
      wake_.wait(lock, something);
    else if (!wake_.wait_until(lock, *deadline, something))
      return std::nullopt;
    if (queue_.empty()) return std::nullopt;
    Delivery out = std::move(queue_.front());
    queue_.pop_front();
    return out;
  }
  bool ended() const {
    const std::lock_guard lock(mutex_);
    return running_ == 0;
  }
  void wait() {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return running_ == 0; });
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Delivery> queue_;
  int running_ = 0;
};

}  // namespace tenon
