// The scheduler alone: what runs, what waits, what is never broken, on thousands of random loads.
// SPDX-License-Identifier: Apache-2.0
#include "runtime/scheduler.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>

#include "runtime/block_pool.h"
#include "tenon/error.h"

namespace tenon {
namespace {

constexpr ScheduleLimits kLimits{.step_tokens = 8, .sequences = 4, .tokens_per_block = 4};

TEST(Scheduler, DecodesComeFirstAndContextsTakeTheRest) {
  const ScheduleItem running[] = {{1, 0}, {20, 0}, {1, 0}};
  const StepPlan plan = plan_step(running, {}, 0, kLimits);
  EXPECT_EQ(plan.running_tokens, (std::vector<std::int64_t>{1, 6, 1}));
}

TEST(Scheduler, AdmitsInOrderWhileBlocksLast) {
  const ScheduleItem waiting[] = {{3, 8}, {3, 40}, {1, 4}};
  const StepPlan plan = plan_step({}, waiting, 3, kLimits);
  EXPECT_EQ(plan.admitted_tokens, (std::vector<std::int64_t>{3}))
      << "the second needs 10 blocks; the third must not overtake it";
}

TEST(Scheduler, AnEngineThatCannotCutAContextWaitsForAWholeStep) {
  ScheduleLimits limits = kLimits;
  limits.chunkable = false;
  const ScheduleItem running[] = {{1, 0}};
  const ScheduleItem waiting[] = {{8, 12}};
  EXPECT_TRUE(plan_step(running, waiting, 100, limits).admitted_tokens.empty());
  EXPECT_EQ(plan_step({}, waiting, 100, limits).admitted_tokens, (std::vector<std::int64_t>{8}));
}

/// A sequence of a simulated load.
struct Simulated {
  std::int64_t prompt, output, cached = 0, made = 0, blocks = 0;
  std::int64_t pending() const { return prompt + made - cached; }
};

TEST(Scheduler, RandomLoadsEndAndKeepEveryLimit) {
  std::mt19937 random(7);
  const auto draw = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  for (int round = 0; round < 2000; ++round) {
    const ScheduleLimits limits{
        .step_tokens = draw(1, 40), .sequences = draw(1, 6), .tokens_per_block = draw(1, 8)};
    const std::int64_t total_blocks = draw(8, 60);
    std::int64_t free_blocks = total_blocks;
    std::vector<Simulated> waiting, running;
    for (int i = draw(1, 12); i > 0; --i) {
      Simulated one{draw(1, 20), draw(1, 10)};
      if (blocks_for(one.prompt + one.output, limits.tokens_per_block) <= total_blocks)
        waiting.push_back(one);
    }
    int steps = 0;
    while (!waiting.empty() || !running.empty()) {
      ASSERT_LT(++steps, 2000) << "something starves";
      std::vector<ScheduleItem> run_items, wait_items;
      for (const Simulated& s : running) run_items.push_back({s.pending(), 0});
      for (const Simulated& s : waiting) wait_items.push_back({s.pending(), s.prompt + s.output});
      const StepPlan plan = plan_step(run_items, wait_items, free_blocks, limits);
      std::int64_t tokens =
          std::accumulate(plan.running_tokens.begin(), plan.running_tokens.end(), std::int64_t{0}) +
          std::accumulate(plan.admitted_tokens.begin(), plan.admitted_tokens.end(),
                          std::int64_t{0});
      ASSERT_LE(tokens, limits.step_tokens);
      ASSERT_GT(tokens, 0) << "a step without work while something waits";
      std::vector<std::int64_t> shares = plan.running_tokens;
      for (const std::int64_t share : plan.admitted_tokens) {
        Simulated one = waiting.front();
        waiting.erase(waiting.begin());
        one.blocks = blocks_for(one.prompt + one.output, limits.tokens_per_block);
        free_blocks -= one.blocks;
        running.push_back(one);
        shares.push_back(share);
      }
      ASSERT_GE(free_blocks, 0);
      ASSERT_LE(static_cast<std::int64_t>(running.size()), limits.sequences);
      for (std::size_t i = 0; i < running.size(); ++i) {
        ASSERT_LE(shares[i], running[i].pending());
        running[i].cached += shares[i];
        if (shares[i] > 0 && running[i].pending() == 0) ++running[i].made;
      }
      std::erase_if(running, [&](const Simulated& s) {
        if (s.made < s.output) return false;
        free_blocks += s.blocks;
        return true;
      });
    }
    ASSERT_EQ(free_blocks, total_blocks);
  }
}

TEST(BlockPool, GivesEachBlockOnceAndTakesItBack) {
  BlockPool pool(5);
  const auto first = pool.take(3);
  const auto second = pool.take(2);
  std::vector<std::int32_t> all = first;
  all.insert(all.end(), second.begin(), second.end());
  std::sort(all.begin(), all.end());
  EXPECT_EQ(all, (std::vector<std::int32_t>{0, 1, 2, 3, 4}));
  EXPECT_EQ(pool.free(), 0);
  pool.give_back(first);
  EXPECT_EQ(pool.free(), 3);
  EXPECT_THROW(pool.give_back(first), Error) << "a block is given back twice";
}

}  // namespace
}  // namespace tenon
