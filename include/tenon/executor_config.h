// How an executor shares a session among requests. Names follow TensorRT-LLM's ExecutorConfig.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "tenon/export.h"
#include "tenon/kv_cache.h"
#include "tenon/scheduling.h"

namespace tenon {

struct TENON_API ExecutorConfig {
  SchedulerPolicy scheduler_policy = SchedulerPolicy::kGuaranteedNoEvict;     ///< who may start
  ContextChunking context_chunking = ContextChunking::kFirstComeFirstServed;  ///< shares of a step
  /// Prompt tokens of one request in one step at most; 0: what the step holds (max_num_tokens).
  std::int64_t max_context_chunk = 0;
  std::int64_t max_queue_size = 1024;     ///< requests that may wait; more are refused
  std::int64_t max_queue_tokens = 0;      ///< prompt tokens that may wait; 0: no limit
  std::optional<double> queue_seconds{};  ///< time limits of requests that set none of their own
  std::optional<double> total_seconds{};  ///< from arrival to the end
  std::int64_t max_beam_width = 0;  ///< of a request; 0: the engine's, or what the batch holds
  std::int64_t iter_stats_max_iterations = 1000;  ///< steps whose statistics are kept
  KvCacheConfig kv_cache{};                       ///< size and habits of the cache
  /// Weights, cache and kernels live in a process of their own, which is started again where it
  /// ends: by a crash, by the system when memory runs out, or by Tenon after an error that sticks
  /// to a process, as CUDA's do. Running requests go on from what they have; one that ends the
  /// worker twice fails, with the reason. Needs a path: an Engine that was built in memory is saved
  /// first.
  bool worker_process = false;
  /// The program `tenon` of this version that serves there. Empty: the running program where it is
  /// `tenon`, the one beside libtenon or in its prefix, the first on PATH.
  std::string worker_executable{};
};

}  // namespace tenon
