// ResponseQueue: responses that wait to be fetched, and the thread that runs callbacks.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
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
  /// A place for a request whose id is not known yet: allocates what open() then needs.
  struct Place;
  static std::shared_ptr<Place> make_place(ResponseCallback callback);
  /// Under pause(). Allocates nothing.
  void open(RequestId id, Place& place);

  /// Under pause(). What waits of the request is dropped, and nothing of it is posted any more.
  void close(RequestId id);

  /// `id` is read under the lock. Throws where memory runs out: then nothing was posted.
  void post(const RequestId& id, Response response);
  /// The request's last response says `error`, in place of one that could not be posted. Allocates
  /// nothing.
  void fail(const RequestId& id, const Error& error);
  std::vector<Response> await(std::optional<RequestId> id,
                              std::optional<std::chrono::milliseconds> timeout);
  std::size_t ready(std::optional<RequestId> id) const;
  /// Runs the callbacks that wait, then ends their thread. In a callback it does not wait for that.
  void stop();

 private:
  struct Entry {
    std::deque<Response> waiting;
    std::shared_ptr<const ResponseCallback> callback;
    std::optional<Error> failure;  // the last response, behind those that wait
    bool ended = false;            // its last response is there
    std::size_t count() const { return waiting.size() + (failure ? 1 : 0); }
  };
  using Entries = std::map<RequestId, Entry>;
  static Response failed(RequestId id, const Error& error);
  void run_callbacks();
  bool call_next(std::unique_lock<std::mutex>& lock, const bool& gone);
  bool in_callback() const { return thread_id_ == std::this_thread::get_id(); }
  void call(RequestId id, const ResponseCallback& callback, const Response& response,
            const bool& gone);
  std::size_t count(std::optional<RequestId> id) const;

  std::function<void(RequestId)> cancel_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Entries entries_;
  std::size_t waiting_ = 0;       // of requests without a callback
  std::deque<RequestId> called_;  // requests with a callback, once for each response
  std::size_t failed_calls_ = 0;  // entries with a callback and a failure, which called_ lacks
  bool stop_ = false;
  bool* gone_ = nullptr;   // of the callbacks' thread: this object was destroyed in a callback
  std::mutex stop_mutex_;  // one stop() at a time
  std::thread thread_;
  std::thread::id thread_id_;  // also once it was joined
};

struct ResponseQueue::Place {
  Entries::node_type node;
};

}  // namespace tenon
