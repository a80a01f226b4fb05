// What an executor says of itself. Names follow TensorRT-LLM's IterationStats and RequestStats.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "tenon/export.h"
#include "tenon/kv_cache.h"

namespace tenon {

/// One step.
struct TENON_API IterationStatistics {
  std::uint64_t iteration = 0;           ///< counts up from 1
  double timestamp = 0;                  ///< seconds since the executor's start, when it was issued
  double latency_seconds = 0;            ///< from issue to result
  double host_seconds = 0;               ///< of which the host planned and prepared
  std::int64_t queued_requests = 0;      ///< of which nothing has run yet
  std::int64_t active_requests = 0;      ///< begun and not ended
  std::int64_t context_requests = 0;     ///< rows of the step that run a prompt
  std::int64_t generation_requests = 0;  ///< rows that continue an output
  std::int64_t context_tokens = 0;       ///< prompt tokens of the step
  std::uint64_t paused_requests = 0;     ///< to make room for this step
  std::uint64_t completed_requests = 0;  ///< since the start
  KvCacheStatistics kv_cache{};          ///< at the step's end
};

/// Since the start.
struct TENON_API ExecutorStatistics {
  std::uint64_t steps = 0;               ///< that were issued
  std::uint64_t context_tokens = 0;      ///< prompt tokens computed
  std::uint64_t generated_tokens = 0;    ///< tokens drawn and handed out
  std::uint64_t finished_requests = 0;   ///< that ended by themselves
  std::uint64_t failed_requests = 0;     ///< with FinishReason::kError
  std::uint64_t cancelled_requests = 0;  ///< with FinishReason::kCancelled
  std::uint64_t timed_out_requests = 0;  ///< with FinishReason::kTimedOut
  std::uint64_t refused_requests = 0;    ///< at the door
  std::uint64_t paused_sequences = 0;    ///< for lack of cache blocks
  std::uint64_t failed_steps = 0;        ///< that were tried again, request by request
  /// Worker processes that ended before their time (ExecutorConfig::worker_process).
  std::uint64_t lost_workers = 0;
  double step_seconds = 0;             ///< in which at least one step ran
  double host_seconds = 0;             ///< planning and preparing
  std::int64_t queued_requests = 0;    ///< of which nothing has run yet
  std::int64_t active_requests = 0;    ///< begun and not ended
  std::int64_t running_sequences = 0;  ///< samples and beams that have a place in the batch
  std::int64_t waiting_sequences = 0;  ///< that wait for one: of queued requests, and paused ones
  KvCacheStatistics kv_cache{};        ///< now
};

struct TENON_API ExecutorHealth {
  enum class State : std::uint8_t {
    kReady,     ///< takes requests
    kDraining,  ///< ends what it has, takes nothing new
    kFailed,    ///< the session is unusable: every request is refused with `message`
    kStopped,   ///< shut down
  };
  State state = State::kReady;       ///< whether requests are taken
  std::string message{};             ///< of kFailed: the error
  double last_step_seconds_ago = 0;  ///< while requests run; 0 otherwise
};

}  // namespace tenon
