// SPDX-License-Identifier: Apache-2.0
#include "api/response_queue.h"

#include <iterator>

#include "core/check.h"
#include "core/log.h"

namespace tenon {

ResponseQueue::ResponseQueue(std::function<void(RequestId)> cancel) : cancel_(std::move(cancel)) {
  thread_ = std::thread([this] { run_callbacks(); });
}

ResponseQueue::~ResponseQueue() { stop(); }

void ResponseQueue::open(RequestId id, ResponseCallback callback) {
  entries_[id].callback = std::move(callback);
}

void ResponseQueue::post(const RequestId& id, Response response) {
  const std::lock_guard lock(mutex_);
  response.request_id = id;
  const auto found = entries_.find(response.request_id);
  if (found == entries_.end()) return;  // nobody wants it any more
  Entry& entry = found->second;
  entry.ended = response.is_final;
  if (entry.callback)
    called_.push_back(response.request_id);
  else
    ++waiting_;
  entry.waiting.push_back(std::move(response));
  changed_.notify_all();
}

std::size_t ResponseQueue::count(std::optional<RequestId> id) const {
  if (!id) return waiting_;
  const auto found = entries_.find(*id);
  TENON_CHECK(found != entries_.end() && !found->second.callback, ErrorCode::kNotFound,
              "request {} is unknown, has a callback, or was answered to its end", *id);
  return found->second.waiting.size();
}

std::vector<Response> ResponseQueue::await(std::optional<RequestId> id,
                                           std::optional<std::chrono::milliseconds> timeout) {
  std::unique_lock lock(mutex_);
  const auto some = [&] { return count(id) > 0 || (!id && stop_); };
  if (!timeout)
    changed_.wait(lock, some);
  else
    changed_.wait_for(lock, *timeout, some);
  std::vector<Response> out;
  const auto take = [&](std::map<RequestId, Entry>::iterator at) {
    Entry& entry = at->second;
    if (entry.callback) return std::next(at);
    waiting_ -= entry.waiting.size();
    std::move(entry.waiting.begin(), entry.waiting.end(), std::back_inserter(out));
    entry.waiting.clear();
    return entry.ended ? entries_.erase(at) : std::next(at);
  };
  if (id) {
    const auto at = entries_.find(*id);
    if (at != entries_.end()) take(at);
    return out;
  }
  for (auto at = entries_.begin(); at != entries_.end() && waiting_ > 0;) at = take(at);
  return out;
}

std::size_t ResponseQueue::ready(std::optional<RequestId> id) const {
  const std::lock_guard lock(mutex_);
  return count(id);
}

void ResponseQueue::run_callbacks() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stop_ || !called_.empty(); });
    if (called_.empty()) return;
    const RequestId id = called_.front();
    called_.pop_front();
    const auto at = entries_.find(id);
    if (at == entries_.end()) continue;  // its callback threw before
    const Response response = std::move(at->second.waiting.front());
    at->second.waiting.pop_front();
    const ResponseCallback callback = at->second.callback;
    if (response.is_final) entries_.erase(at);
    lock.unlock();
    bool failed = false;
    try {
      callback(response);
    } catch (const std::exception& error) {
      log::warn("the callback of request {} threw: {}; the request is cancelled", id, error.what());
      failed = true;
    } catch (...) {
      log::warn("the callback of request {} threw; the request is cancelled", id);
      failed = true;
    }
    if (failed) cancel_(id);
    lock.lock();
    if (failed) entries_.erase(id);
  }
}

void ResponseQueue::stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

}  // namespace tenon
