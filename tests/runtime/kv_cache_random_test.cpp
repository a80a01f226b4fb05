// Thousands of short random workloads over a cache whose content is simulated: every step checks
// every entry it reads, every invariant, and that no reservation is ever refused.
// SPDX-License-Identifier: Apache-2.0
#include <random>

#include "kv_cache_model.h"

namespace tenon {
namespace {

std::uint64_t weak_hash(std::uint64_t parent, std::span<const std::int32_t> tokens) {
  return 1 + (parent + static_cast<std::uint64_t>(tokens.front())) % 3;
}

class Workload {
 public:
  Workload(const KvCacheSettings& settings, std::uint32_t seed)
      : random_(seed), settings_(settings), model_(settings) {
    model_.one_step_behind = chance(0.5);
  }

  void run(int steps) {
    for (int i = 0; i < steps && !::testing::Test::HasFatalFailure(); ++i) {
      model_.now += chance(0.3) ? 1.0 : 0.0;
      while (running_.size() < 5 && chance(0.5)) start();
      if (chance(0.3)) fork();
      for (auto& sequence : running_) plan(*sequence);
      if (!running_.empty() && chance(0.05)) release(running_.size() - 1);  // cancelled meanwhile
      if (chance(0.1)) start();
      model_.step();
      for (std::size_t s = running_.size(); s-- > 0;)
        if (running_[s]->cached >= running_[s]->reserve + 2 || chance(0.06)) release(s);
      if (chance(0.01)) model_.cache.clear_reusable();
      if (chance(failures)) fail();
      model_.cache.check_invariants();
    }
    while (!running_.empty()) release(0);
    model_.cache.check_invariants();
    const KvCacheStatistics end = model_.cache.statistics();
    EXPECT_EQ(end.used_blocks, 0);
    EXPECT_EQ(end.free_blocks + end.reusable_blocks, end.total_blocks);
    for (std::size_t g = 0; g < settings_.groups.size(); ++g)
      if (settings_.groups[g].window == 0) {
        EXPECT_EQ(model_.cache.reserved_blocks(static_cast<int>(g)), 0);
      }
    model_.cache.clear_reusable();
    model_.cache.check_invariants();
    EXPECT_EQ(model_.cache.statistics().free_blocks, end.total_blocks);
    EXPECT_EQ(model_.cache.statistics().swapped_blocks, 0);
  }

  const KvCache& cache() const { return model_.cache; }
  double failures = 0;  ///< how likely a step fails

 private:
  bool chance(double p) { return std::uniform_real_distribution<>(0, 1)(random_) < p; }
  std::int64_t number(std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(random_);
  }

  // Few distinct tokens, so that prefixes meet often.
  Tokens random_tokens(std::int64_t count) {
    Tokens out;
    for (std::int64_t i = 0; i < count; ++i)
      out.push_back(chance(0.85) ? 1 : static_cast<std::int32_t>(number(0, 2)));
    return out;
  }

  void start() {
    Tokens tokens = random_tokens(number(1, 30));
    if (!finished_.empty() && chance(0.6)) {  // continues something that ran
      const Tokens& before = finished_[static_cast<std::size_t>(
          number(0, static_cast<std::int64_t>(finished_.size()) - 1))];
      Tokens prefix(before.begin(),
                    before.begin() + number(1, static_cast<std::int64_t>(before.size())));
      tokens = prefix + random_tokens(number(0, 6));
    }
    const auto reserve = static_cast<std::int64_t>(tokens.size()) + number(0, 20);
    KvRetention retention{
        .ranges = {{.begin = number(0, 4),
                    .priority = static_cast<std::int32_t>(number(0, 100)),
                    .duration_seconds = chance(0.5) ? std::optional(3.0) : std::nullopt}},
        .decode_priority = static_cast<std::int32_t>(number(0, 100))};
    auto started = model_.start(tokens, reserve, chance(0.2) ? "salt" : "",
                                chance(0.5) ? &retention : nullptr);
    model_.cache.check_invariants();
    if (started) running_.push_back(std::make_unique<ModelSequence>(*std::move(started)));
  }

  void fork() {
    if (running_.empty()) return;
    ModelSequence& parent = *running_[static_cast<std::size_t>(
        number(0, static_cast<std::int64_t>(running_.size()) - 1))];
    if (parent.cached == 0) return;
    const std::int64_t tokens = chance(0.3) ? number(0, parent.cached) : parent.cached;
    if (!model_.cache.can_fork(parent.handle, tokens)) return;  // a window has moved past them
    auto child = model_.fork(parent, tokens, tokens + number(0, 12));
    model_.cache.check_invariants();
    if (child) running_.push_back(std::make_unique<ModelSequence>(*std::move(child)));
  }

  void plan(ModelSequence& sequence) {
    if (chance(0.2)) return;  // sits out
    if (static_cast<std::int64_t>(sequence.tokens.size()) == sequence.cached)
      sequence.tokens = sequence.tokens + random_tokens(1);
    const std::int64_t rest = static_cast<std::int64_t>(sequence.tokens.size()) - sequence.cached;
    const std::int64_t count = number(1, std::min(rest, settings_.max_step_tokens));
    const std::int64_t drafts = chance(0.2) ? number(0, settings_.max_step_tokens - count) : 0;
    model_.plan(sequence, count, drafts, chance(0.4));
    model_.cache.check_invariants();
  }

  void release(std::size_t s) {
    if (!running_[s]->tokens.empty()) finished_.push_back(running_[s]->tokens);
    if (finished_.size() > 6) finished_.erase(finished_.begin());
    model_.release(*running_[s]);
    running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(s));
  }

  void fail() {
    for (const auto& sequence : running_)
      if (!sequence->tokens.empty()) finished_.push_back(sequence->tokens);
    running_.clear();
    model_.fail();
    EXPECT_EQ(model_.cache.statistics().used_blocks, 0);
  }

  std::mt19937 random_;
  KvCacheSettings settings_;
  CacheModel model_;
  std::vector<std::unique_ptr<ModelSequence>> running_;
  std::vector<Tokens> finished_;
};

KvCacheSettings settings_with(std::vector<KvCacheGroup> groups) {
  KvCacheSettings out;
  out.groups = std::move(groups);
  out.tokens_per_block = 4;
  out.max_step_tokens = 6;
  out.event_capacity = 100;
  return out;
}

// What the workloads of a shape came to, so that none passes by doing nothing.
KvCacheStatistics run_workloads(const KvCacheSettings& settings, int count, int steps = 40,
                                double failures = 0) {
  KvCacheStatistics sum;
  for (int seed = 0; seed < count; ++seed) {
    SCOPED_TRACE(seed);
    Workload workload(settings, static_cast<std::uint32_t>(seed));
    workload.failures = failures;
    try {
      workload.run(steps);
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();
    }
    if (::testing::Test::HasFailure()) break;
    const KvCacheStatistics one = workload.cache().statistics();
    sum.reused_tokens += one.reused_tokens;
    sum.evicted_blocks += one.evicted_blocks;
    sum.swapped_out_blocks += one.swapped_out_blocks;
    sum.swapped_in_blocks += one.swapped_in_blocks;
    sum.copied_blocks += one.copied_blocks;
  }
  return sum;
}

TEST(KvCacheRandom, WholeContext) {
  const KvCacheStatistics sum = run_workloads(settings_with({{.blocks = 20}}), 400);
  EXPECT_GT(sum.reused_tokens, 400U);
  EXPECT_GT(sum.evicted_blocks, 400U);
  EXPECT_GT(sum.copied_blocks, 400U);
  EXPECT_EQ(sum.swapped_out_blocks, 0U);
}

TEST(KvCacheRandom, WholeContextWithHost) {
  const KvCacheStatistics sum =
      run_workloads(settings_with({{.blocks = 18, .host_blocks = 9}}), 400);
  EXPECT_GT(sum.swapped_out_blocks, 400U);
  EXPECT_GT(sum.swapped_in_blocks, 100U);
}

TEST(KvCacheRandom, WholeContextWithHostAndDisk) {
  const KvCacheStatistics sum =
      run_workloads(settings_with({{.blocks = 16, .host_blocks = 3, .disk_blocks = 8}}), 400);
  EXPECT_GT(sum.swapped_in_blocks, 100U);
}

TEST(KvCacheRandom, DiskWithoutHost) {
  const KvCacheStatistics sum =
      run_workloads(settings_with({{.blocks = 16, .disk_blocks = 8}}), 200);
  EXPECT_GT(sum.swapped_in_blocks, 50U);
}

TEST(KvCacheRandom, WindowAlone) {
  const KvCacheStatistics sum =
      run_workloads(settings_with({{.window = 7, .blocks = 18, .host_blocks = 4}}), 400);
  EXPECT_GT(sum.reused_tokens, 400U);
  EXPECT_GT(sum.swapped_in_blocks, 50U);
}

TEST(KvCacheRandom, WindowOfOneToken) {
  run_workloads(settings_with({{.window = 1, .blocks = 14}}), 100);
}

TEST(KvCacheRandom, WholeContextAndTwoWindows) {
  const KvCacheStatistics sum =
      run_workloads(settings_with({{.window = 5, .blocks = 20, .host_blocks = 3, .disk_blocks = 3},
                                   {.blocks = 20, .host_blocks = 5, .disk_blocks = 5},
                                   {.window = 12, .blocks = 24}}),
                    400);
  EXPECT_GT(sum.reused_tokens, 400U);
  EXPECT_GT(sum.swapped_in_blocks, 50U);
}

TEST(KvCacheRandom, TwoWholeContexts) {
  const KvCacheStatistics sum = run_workloads(
      settings_with({{.blocks = 16, .host_blocks = 4}, {.blocks = 22, .disk_blocks = 3}}), 300);
  EXPECT_GT(sum.swapped_in_blocks, 50U);
}

TEST(KvCacheRandom, WeakHash) {
  KvCacheSettings settings =
      settings_with({{.blocks = 18, .host_blocks = 6}, {.window = 6, .blocks = 24}});
  settings.block_hash = weak_hash;
  EXPECT_GT(run_workloads(settings, 300).reused_tokens, 300U);
}

TEST(KvCacheRandom, NoReuse) {
  KvCacheSettings settings = settings_with({{.blocks = 20}, {.window = 6, .blocks = 26}});
  settings.reuse = false;
  const KvCacheStatistics sum = run_workloads(settings, 200);
  EXPECT_EQ(sum.reused_tokens, 0U);
  EXPECT_EQ(sum.evicted_blocks, 0U);
}

TEST(KvCacheRandom, NoPartialReuse) {
  KvCacheSettings settings = settings_with({{.blocks = 20}});
  settings.partial_reuse = false;
  run_workloads(settings, 100);
}

TEST(KvCacheRandom, StepsThatFailLeaveWhatWasThereBefore) {
  const std::vector<std::vector<KvCacheGroup>> shapes = {
      {{.blocks = 18}},
      {{.blocks = 18, .host_blocks = 5, .disk_blocks = 4}},
      {{.window = 7, .blocks = 18, .host_blocks = 4}},
      {{.window = 5, .blocks = 20, .host_blocks = 3}, {.blocks = 20, .host_blocks = 5}},
      {{.blocks = 16, .host_blocks = 4}, {.blocks = 22, .disk_blocks = 3}, {.blocks = 20}}};
  for (const std::vector<KvCacheGroup>& groups : shapes) {
    const KvCacheStatistics sum = run_workloads(settings_with(groups), 100, 60, 0.2);
    EXPECT_GT(sum.reused_tokens, 1000U);
  }
}

TEST(KvCacheRandom, LongWorkload) {
  run_workloads(settings_with({{.blocks = 40, .host_blocks = 20, .disk_blocks = 20},
                               {.window = 9, .blocks = 30, .host_blocks = 8}}),
                4, 2000);
}

}  // namespace
}  // namespace tenon
