// SPDX-License-Identifier: Apache-2.0
#include "api/response_queue.h"

#include <algorithm>
#include <iterator>

#include "core/check.h"
#include "core/deadline.h"
#include "core/log.h"
#include "runtime/current_error.h"

namespace tenon {

ResponseQueue::ResponseQueue(std::function<void(RequestId)> cancel) : cancel_(std::move(cancel)) {
  std::unique_lock lock(mutex_);  // the thread begins once its id is known
  thread_ = std::thread([this] { run_callbacks(); });
  thread_id_ = thread_.get_id();
}

/// In a callback too: a callback may hold the last reference to its executor.
ResponseQueue::~ResponseQueue() {
  stop();
  if (!in_callback()) return;
  {
    std::unique_lock lock(mutex_);
    bool gone = false;
    while (call_next(lock, gone)) continue;
  }
  *gone_ = true;
  thread_.detach();
}

std::shared_ptr<ResponseQueue::Place> ResponseQueue::make_place(ResponseCallback callback) {
  Entries one;
  Entry& entry = one[0];
  if (callback) entry.callback = std::make_shared<const ResponseCallback>(std::move(callback));
  auto place = std::make_shared<Place>();
  place->node = one.extract(one.begin());
  return place;
}

void ResponseQueue::open(RequestId id, Place& place) {
  place.node.key() = id;
  entries_.insert(std::move(place.node));
}

void ResponseQueue::post(const RequestId& id, Response response) {
  const std::lock_guard lock(mutex_);
  response.request_id = id;
  const bool last = response.is_final;
  const auto found = entries_.find(id);
  if (found == entries_.end()) return;  // nobody wants it any more
  Entry& entry = found->second;
  entry.waiting.push_back(std::move(response));
  if (!entry.callback) {
    ++waiting_;
  } else {
    try {
      called_.push_back(id);
    } catch (...) {
      entry.waiting.pop_back();
      throw;
    }
  }
  entry.ended = last;
  changed_.notify_all();
}

void ResponseQueue::fail(const RequestId& id, const Error& error) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(id);
  if (found == entries_.end() || found->second.ended) return;
  found->second.failure = error;
  found->second.ended = true;
  ++(found->second.callback ? failed_calls_ : waiting_);
  changed_.notify_all();
}

Response ResponseQueue::failed(RequestId id, const Error& error) {
  Response response;
  response.request_id = id;
  response.finish_reason = FinishReason::kError;
  response.error = error;
  response.is_final = true;
  return response;
}

std::size_t ResponseQueue::count(std::optional<RequestId> id) const {
  if (!id) return waiting_;
  const auto found = entries_.find(*id);
  TENON_CHECK(found != entries_.end() && !found->second.callback, ErrorCode::kNotFound,
              "request {} is unknown, has a callback, or was answered to its end", *id);
  return found->second.count();
}

std::vector<Response> ResponseQueue::await(std::optional<RequestId> id,
                                           std::optional<std::chrono::milliseconds> timeout) {
  std::unique_lock lock(mutex_);
  const auto some = [&] { return count(id) > 0 || (!id && stop_); };
  if (!timeout)
    changed_.wait(lock, some);
  else
    changed_.wait_until(lock, deadline_after(std::chrono::duration<double>(*timeout).count()),
                        some);
  std::vector<Response> out;
  const auto take = [&](std::map<RequestId, Entry>::iterator at) {
    Entry& entry = at->second;
    if (entry.callback) return std::next(at);
    out.reserve(out.size() + entry.count());  // nothing is taken where there is no memory for it
    waiting_ -= entry.count();
    std::move(entry.waiting.begin(), entry.waiting.end(), std::back_inserter(out));
    entry.waiting.clear();
    if (entry.failure) out.push_back(failed(at->first, *entry.failure));
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
  bool gone = false;
  gone_ = &gone;
  do {
    changed_.wait(lock, [this] { return stop_ || !called_.empty() || failed_calls_ > 0; });
  } while (call_next(lock, gone));
}

/// False: nothing is left to call, or `gone`: then this object is no more, and `lock` holds
/// nothing.
bool ResponseQueue::call_next(std::unique_lock<std::mutex>& lock, const bool& gone) {
  Response response;
  auto at = entries_.end();
  if (!called_.empty()) {
    const RequestId id = called_.front();
    called_.pop_front();
    at = entries_.find(id);
    if (at == entries_.end()) return true;  // its callback threw before
    response = std::move(at->second.waiting.front());
    at->second.waiting.pop_front();
  } else if (failed_calls_ > 0) {
    at = std::find_if(entries_.begin(), entries_.end(), [](const auto& entry) {
      return entry.second.callback != nullptr && entry.second.failure.has_value();
    });
    response = failed(at->first, *at->second.failure);
  } else {
    return false;
  }
  const RequestId id = at->first;
  std::shared_ptr<const ResponseCallback> callback = at->second.callback;
  if (response.is_final) close(id);
  lock.unlock();
  call(id, *callback, response, gone);
  callback.reset();  // without the lock: what it holds may call back as it goes
  if (gone) return false;
  lock.lock();
  return true;
}

/// Without the lock.
void ResponseQueue::call(RequestId id, const ResponseCallback& callback, const Response& response,
                         const bool& gone) {
  std::optional<Error> error;
  try {
    callback(response);
  } catch (...) {
    error = current_error();
  }
  if (!error || gone) return;
  {
    const std::lock_guard lock(mutex_);
    close(id);
  }
  try {
    log::warn("the callback of request {} threw: {}; the request is cancelled", id, error->what());
  } catch (...) {
    // There is no memory to tell of it.
  }
  try {
    cancel_(id);
  } catch (...) {
    // It runs to its end, and nobody hears of it.
  }
}

void ResponseQueue::close(RequestId id) {
  const auto at = entries_.find(id);
  if (at == entries_.end()) return;
  if (at->second.callback && at->second.failure)
    --failed_calls_;
  else if (!at->second.callback)
    waiting_ -= at->second.count();
  entries_.erase(at);
}

void ResponseQueue::stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    changed_.notify_all();
  }
  if (in_callback()) return;
  const std::lock_guard once(stop_mutex_);
  if (thread_.joinable()) thread_.join();
}

}  // namespace tenon
