// RequestLoop: a thread that runs steps over all requests in flight. Any thread may enqueue and
// cancel. A request that is wrong is refused at the door; one that fails later fails alone.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/session.h"
#include "runtime/request.h"
#include "runtime/step_runner.h"
#include "tenon/statistics.h"

namespace tenon {

struct RequestLoopOptions {
  StepRunnerOptions steps;
  std::int64_t max_queue = 1024;             ///< requests that may wait
  std::int64_t max_queue_tokens = 0;         ///< prompt tokens that may wait; 0: no limit
  std::optional<double> queue_seconds;       ///< of requests that set no limit of their own
  std::optional<double> total_seconds;       ///< likewise
  std::int64_t max_beam_width = 0;           ///< of a request; 0: what the slots allow
  std::int64_t iteration_statistics = 1000;  ///< steps whose statistics are kept
};

class RequestLoop {
 public:
  RequestLoop(std::unique_ptr<Session> session, const RequestLoopOptions& options);
  /// Ends every request with FinishReason::kCancelled. Not in the loop's own thread.
  ~RequestLoop();
  RequestLoop(const RequestLoop&) = delete;
  RequestLoop& operator=(const RequestLoop&) = delete;

  /// Throws Error{kInvalidArgument} naming the field; Error{kResourceExhausted} where the queue is
  /// full, with what waits and about how long; Error{kCancelled} after drain() or stop().
  RequestId enqueue(Request request);
  /// Waits until the queue has room for a prompt of so many tokens, so that enqueue() may not
  /// refuse it for that. False after `seconds`.
  bool await_room(std::int64_t prompt_tokens, double seconds);
  /// For who refuses a request before it comes here.
  void count_refused();
  /// All, or one sample. Does nothing for a request that has ended.
  void cancel(RequestId id, int sample = -1);
  /// Everything that was enqueued before.
  void cancel_all();

  /// Takes nothing new; returns when everything has ended, or false after `seconds`.
  bool drain(std::optional<double> seconds = std::nullopt);
  /// Ends what runs with kCancelled and stops the thread. May be called twice.
  void stop();
  /// Throws Error{kInvalidArgument} from the loop's own thread, where sinks and hooks are called:
  /// `what` would wait there for itself. drain() and stop() do so too, and change nothing.
  void check_may_wait(const char* what) const;
  bool is_own_thread() const;

  ExecutorHealth health() const;
  ExecutorStatistics statistics() const;
  /// Of the steps since the last call, oldest first; those beyond the limit are lost.
  std::vector<IterationStatistics> take_iteration_statistics();
  std::vector<KvCacheEvent> take_cache_events();

  const Session& session() const;
  Session& session();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tenon
