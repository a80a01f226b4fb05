// ResponseQueue: responses that wait to be fetched, and the thread that runs callbacks.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "tenon/executor.h"

namespace tenon {

class ResponseQueue {
 public:
  /// `cancel` ends a request whose callback threw.
  explicit ResponseQueue(std::function<void(RequestId)> cancel);
  ~ResponseQueue();

  /// Holds responses of requests that are being enqueued back until their ids are known here.
  std::unique_lock<std::mutex> pause() { return std::unique_lock(mutex_); }
  /// Under pause().
  void open(RequestId id, ResponseCallback callback);

  void close(RequestId id) { entries_.erase(id); }

  /// `id` is read under the lock.
  void post(const RequestId& id, Response response);
  std::vector<Response> await(std::optional<RequestId> id,
                              std::optional<std::chrono::milliseconds> timeout);
  std::size_t ready(std::optional<RequestId> id) const;
  /// Runs the callbacks that wait, then ends their thread.
  void stop();

 private:
  struct Entry {
    std::deque<Response> waiting;
    ResponseCallback callback;
    bool ended = false;  // its last response is in `waiting`
  };
  void run_callbacks();
  std::size_t count(std::optional<RequestId> id) const;

  std::function<void(RequestId)> cancel_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<RequestId, Entry> entries_;
  std::size_t waiting_ = 0;       // of requests without a callback
  std::deque<RequestId> called_;  // requests with a callback, once for each response
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace tenon
