// Scheduler: which sequences run in the next step, and with how many tokens. A pure function of
// what waits, what runs and the limits; it knows no device. Policy GUARANTEED_NO_EVICT: a sequence
// is admitted only when the blocks for its longest outcome are free, so nothing that runs is ever
// paused. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tenon {

struct ScheduleLimits {
  std::int64_t step_tokens = 0;  ///< tokens of one step
  std::int64_t sequences = 0;    ///< sequences running at once
  std::int64_t tokens_per_block = 32;
  bool chunkable = true;  ///< a context may be cut into steps
};

/// A sequence as the scheduler sees it.
struct ScheduleItem {
  std::int64_t pending_tokens = 0;  ///< known tokens that are not in the cache yet: 1 for a decode
  std::int64_t longest = 0;         ///< tokens it may come to hold in the cache
};

struct StepPlan {
  /// Tokens to run of each running sequence, 0: it sits this step out. Same order as `running`.
  std::vector<std::int64_t> running_tokens;
  /// The first `admitted` of `waiting` start, with these numbers of tokens (may be 0).
  std::vector<std::int64_t> admitted_tokens;
};

/// Blocks that a sequence of `tokens` tokens needs.
std::int64_t blocks_for(std::int64_t tokens, std::int64_t tokens_per_block);

/// Decodes first, then contexts in order of arrival, cut to what is left of the step. `free_blocks`
/// is the smallest number free over the cache groups.
StepPlan plan_step(std::span<const ScheduleItem> running, std::span<const ScheduleItem> waiting,
                   std::int64_t free_blocks, const ScheduleLimits& limits);

}  // namespace tenon
