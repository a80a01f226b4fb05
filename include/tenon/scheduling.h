// How requests share the steps. Names follow TensorRT-LLM's CapacitySchedulerPolicy and
// ContextChunkingPolicy.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace tenon {

enum class SchedulerPolicy : std::uint8_t {
  /// A request starts when the cache has room for its longest outcome: nothing that runs is paused.
  kGuaranteedNoEvict,
  /// A request starts when the cache has room for its prompt. Where room runs out, the request of
  /// least priority that came last is paused and computed anew later, with the same tokens.
  kMaxUtilization,
  /// A batch is formed and runs to its end before the next.
  kStaticBatch,
};

enum class ContextChunking : std::uint8_t {
  kFirstComeFirstServed,  ///< the oldest context takes what is left of a step
  kEqualProgress,         ///< contexts share what is left
};

}  // namespace tenon
