// SPDX-License-Identifier: Apache-2.0
#include "runtime/scheduler.h"

#include <algorithm>

namespace tenon {

std::int64_t blocks_for(std::int64_t tokens, std::int64_t tokens_per_block) {
  return (tokens + tokens_per_block - 1) / tokens_per_block;
}

StepPlan plan_step(std::span<const ScheduleItem> running, std::span<const ScheduleItem> waiting,
                   std::int64_t free_blocks, const ScheduleLimits& limits) {
  StepPlan plan;
  std::int64_t left = limits.step_tokens;
  plan.running_tokens.assign(running.size(), 0);
  for (std::size_t i = 0; i < running.size(); ++i)
    if (running[i].pending_tokens == 1 && left > 0) {
      plan.running_tokens[i] = 1;
      --left;
    }
  const auto context_share = [&](std::int64_t pending) {
    // An engine that cannot cut a context runs it whole, in a step where it fits.
    const std::int64_t share = std::min(pending, left);
    return limits.chunkable || share == pending ? share : 0;
  };
  for (std::size_t i = 0; i < running.size(); ++i)
    if (running[i].pending_tokens > 1) {
      plan.running_tokens[i] = context_share(running[i].pending_tokens);
      left -= plan.running_tokens[i];
    }
  auto places = limits.sequences - static_cast<std::int64_t>(running.size());
  for (const ScheduleItem& item : waiting) {
    const std::int64_t blocks = blocks_for(item.longest, limits.tokens_per_block);
    const std::int64_t share = context_share(item.pending_tokens);
    if (places <= 0 || blocks > free_blocks || share == 0) break;  // in order: none overtakes
    free_blocks -= blocks;
    --places;
    left -= share;
    plan.admitted_tokens.push_back(share);
  }
  return plan;
}

}  // namespace tenon
