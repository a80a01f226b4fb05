// Executor: requests in, tokens out. One thread of its own runs steps over all requests in flight;
// any thread may enqueue and cancel. A request that is wrong is refused at enqueue; one that fails
// later fails alone.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include "engine/session.h"
#include "runtime/request.h"

namespace tenon {

struct ExecutorOptions {
  std::int64_t max_queue = 1024;  ///< requests that may wait
};

struct ExecutorStatistics {
  std::uint64_t steps = 0;
  std::uint64_t context_tokens = 0;
  std::uint64_t generated_tokens = 0;
  std::uint64_t finished_requests = 0;
  double step_seconds = 0;
  std::int64_t running = 0;
  std::int64_t waiting = 0;
  std::int64_t free_blocks = 0;
  std::int64_t total_blocks = 0;
};

class Executor {
 public:
  Executor(std::unique_ptr<Session> session, const ExecutorOptions& options);
  /// Ends every request with FinishReason::kCancelled.
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  /// Throws Error{kInvalidArgument} naming the field, Error{kResourceExhausted} where the queue is
  /// full or the request can never fit.
  RequestId enqueue(Request request);
  /// Does nothing for a request that has ended.
  void cancel(RequestId id);

  ExecutorStatistics statistics() const;
  const Session& session() const;
  Session& session();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tenon
