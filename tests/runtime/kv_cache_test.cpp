// What KvCache promises, property by property, on one cache group or two, without swapping.
// SPDX-License-Identifier: Apache-2.0
#include "kv_cache_model.h"
#include "tenon/error.h"

namespace tenon {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

KvCacheSettings settings_with(std::vector<KvCacheGroup> groups, std::int64_t max_step = 64) {
  KvCacheSettings out;
  out.groups = std::move(groups);
  out.tokens_per_block = 4;
  out.max_step_tokens = max_step;
  return out;
}

KvStart start_of(const Tokens& tokens) { return {.tokens = tokens}; }

TEST(KvCache, FindsWholeBlocksAndTheBeginningOfOne) {
  CacheModel model(settings_with({{.blocks = 20}}));
  EXPECT_EQ(model.serve(tokens_from(0, 14)), 0);  // three blocks stay, two tokens do not
  EXPECT_EQ(model.serve(tokens_from(0, 12) + tokens_from(50, 4)), 12);
  EXPECT_EQ(model.serve(tokens_from(0, 6) + tokens_from(60, 4)), 6);  // two of them copied
  EXPECT_EQ(model.cache.statistics().copied_blocks, 1U);
  EXPECT_EQ(model.serve(tokens_from(1, 8)), 0);
}

TEST(KvCache, TheLastTokenAlwaysRuns) {
  CacheModel model(settings_with({{.blocks = 20}}));
  const Tokens tokens = tokens_from(0, 12);
  model.serve(tokens);
  EXPECT_EQ(model.cache.reusable_tokens(start_of(tokens)), 11);
  EXPECT_EQ(model.serve(tokens), 11);
  EXPECT_EQ(model.serve({0}), 0);
}

TEST(KvCache, WithoutPartialReuseBlocksAreWhole) {
  KvCacheSettings settings = settings_with({{.blocks = 20}});
  settings.partial_reuse = false;
  CacheModel model(settings);
  model.serve(tokens_from(0, 12));
  EXPECT_EQ(model.serve(tokens_from(0, 12)), 8);
  EXPECT_EQ(model.cache.statistics().copied_blocks, 0U);
}

TEST(KvCache, WithoutReuseNothingIsKept) {
  KvCacheSettings settings = settings_with({{.blocks = 20}});
  settings.reuse = false;
  CacheModel model(settings);
  model.serve(tokens_from(0, 12));
  EXPECT_EQ(model.serve(tokens_from(0, 12)), 0);
  EXPECT_EQ(model.cache.statistics().free_blocks, 20);
}

TEST(KvCache, AStartMayDeclineReuseAndIsFoundByOthers) {
  CacheModel model(settings_with({{.blocks = 20}}));
  const Tokens tokens = tokens_from(0, 12);
  model.serve(tokens);
  const KvStart start{.tokens = tokens, .reuse = false};
  EXPECT_EQ(model.cache.reusable_tokens(start), 0);
  const auto started = model.cache.start(start, 0);
  ASSERT_TRUE(started);
  EXPECT_EQ(started->cached_tokens, 0);
}

TEST(KvCache, SaltSeparates) {
  CacheModel model(settings_with({{.blocks = 20}}));
  const Tokens tokens = tokens_from(0, 12);
  model.serve(tokens, "alice");
  EXPECT_EQ(model.serve(tokens, "bob"), 0);
  EXPECT_EQ(model.serve(tokens), 0);
  EXPECT_EQ(model.serve(tokens, "alice"), 11);
  EXPECT_EQ(model.serve(tokens, "carol"), 0);
}

TEST(KvCache, EqualHashesAreNoHit) {
  KvCacheSettings settings = settings_with({{.blocks = 40}});
  settings.block_hash = [](std::uint64_t, std::span<const std::int32_t>) -> std::uint64_t {
    return 7;
  };
  CacheModel model(settings);
  model.serve(tokens_from(0, 12));
  EXPECT_EQ(model.serve(tokens_from(100, 12)), 0);
  EXPECT_EQ(model.serve(tokens_from(4, 8)), 0);  // known blocks, but after others
  EXPECT_EQ(model.serve(tokens_from(0, 12)), 11);
  EXPECT_EQ(model.serve(tokens_from(100, 12)), 11);
}

TEST(KvCache, SequencesThatRunAtTheSameTimeShareWhatTheyBothComputed) {
  CacheModel model(settings_with({{.blocks = 20}}));
  auto a = model.start(tokens_from(0, 9), 12);
  auto b = model.start(tokens_from(0, 9), 12);
  ASSERT_TRUE(a && b);
  EXPECT_EQ(b->cached, 0);
  model.plan(*a, 9);
  model.plan(*b, 9);
  EXPECT_EQ(model.cache.statistics().used_blocks, 6);
  model.step();
  model.cache.check_invariants();
  EXPECT_EQ(model.cache.statistics().used_blocks, 4);  // two shared, a third of each its own
  for (auto* sequence : {&*a, &*b}) {
    sequence->tokens.push_back(99);
    model.plan(*sequence, 1);
  }
  model.step();
  EXPECT_EQ(a->tables[0][0], b->tables[0][0]);
  EXPECT_NE(a->tables[0][2], b->tables[0][2]);
}

TEST(KvCache, AForkCopiesBeforeItWrites) {
  CacheModel model(settings_with({{.blocks = 20}}));
  auto a = model.start(tokens_from(0, 6), 8);
  ASSERT_TRUE(a && model.run(*a));
  auto b = model.fork(*a, 6, 8);
  auto c = model.fork(*a, 6, 8);
  ASSERT_TRUE(b && c);
  EXPECT_EQ(model.cache.statistics().used_blocks, 2);
  EXPECT_EQ(model.cache.reserved_blocks(0), 2);  // of three that may write, one may stay
  int token = 100;
  for (auto* sequence : {&*a, &*b, &*c}) {
    sequence->tokens.push_back(token++);
    model.plan(*sequence, 1);
    model.cache.check_invariants();
  }
  model.step();
  EXPECT_EQ(model.cache.statistics().copied_blocks, 2U);
  EXPECT_EQ(model.cache.statistics().used_blocks, 4);
  for (auto* sequence : {&*a, &*b, &*c}) {
    sequence->tokens.push_back(token++);
    model.plan(*sequence, 1);
  }
  model.step();
  EXPECT_EQ(model.cache.statistics().copied_blocks, 2U);
}

TEST(KvCache, AForkAtABlocksEndCopiesNothing) {
  CacheModel model(settings_with({{.blocks = 20}}));
  auto a = model.start(tokens_from(0, 8), 12);
  ASSERT_TRUE(a && model.run(*a));
  auto b = model.fork(*a, 8, 12);
  ASSERT_TRUE(b);
  b->tokens.push_back(5);
  EXPECT_TRUE(model.run(*b));
  EXPECT_EQ(model.cache.statistics().copied_blocks, 0U);
}

TEST(KvCache, AForkBehindTheWindowIsABug) {
  CacheModel model(settings_with({{.window = 4, .blocks = 20}}, 4));
  auto a = model.start(tokens_from(0, 24), 24);
  ASSERT_TRUE(a && model.run(*a));
  EXPECT_FALSE(model.cache.can_fork(a->handle, 4));
  EXPECT_THROW(model.cache.fork(a->handle, 4, 8, 0), Error);
  EXPECT_THROW(model.cache.fork(a->handle, 25, 28, 0), Error);
  EXPECT_TRUE(model.fork(*a, 0, 8));  // nothing but its salt
}

TEST(KvCache, ReservationsAreKeptAndRefusedInTime) {
  CacheModel model(settings_with({{.blocks = 10}}));
  auto a = model.start(tokens_from(0, 4), 20);
  ASSERT_TRUE(a);
  EXPECT_EQ(model.cache.reserved_blocks(0), 5);
  EXPECT_FALSE(model.start(tokens_from(100, 4), 24));
  auto b = model.start(tokens_from(100, 4), 20);
  ASSERT_TRUE(b);
  EXPECT_FALSE(model.start({1}, 1));
  EXPECT_FALSE(model.cache.grow(b->handle, 21, 0));  // more than it reserved
  EXPECT_TRUE(model.cache.grow(b->handle, 20, 0));
  model.release(*a);
  EXPECT_TRUE(model.cache.grow(b->handle, 40, 0));
  EXPECT_FALSE(model.cache.grow(b->handle, 41, 0));
  EXPECT_TRUE(model.cache.fits(40));
  EXPECT_FALSE(model.cache.fits(41));
  model.cache.check_invariants();
}

TEST(KvCache, ASharedPrefixIsReservedOnce) {
  CacheModel model(settings_with({{.blocks = 8}}));
  const Tokens prompt = tokens_from(0, 16);
  auto a = model.start(prompt + Tokens{70}, 20);
  ASSERT_TRUE(a && model.run(*a));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(model.start(prompt + Tokens{80 + i}, 20)) << i;
  EXPECT_FALSE(model.start(prompt + Tokens{90}, 20));
  model.cache.check_invariants();
}

TEST(KvCache, WhereTheCopysSourceWouldHaveToGoNothingIsCopied) {
  CacheModel model(settings_with({{.blocks = 2}}));
  model.serve(tokens_from(0, 8));
  auto a = model.start(tokens_from(0, 6) + tokens_from(50, 2), 8);
  ASSERT_TRUE(a);
  EXPECT_EQ(a->cached, 4);
  EXPECT_TRUE(model.run(*a));
}

TEST(KvCache, LeavesGoFirstThenTheLeastRecentlyUsed) {
  CacheModel model(settings_with({{.blocks = 6}}));
  model.serve(tokens_from(0, 12));  // the older three
  model.serve(tokens_from(100, 12));
  EXPECT_EQ(model.cache.statistics().reusable_blocks, 6);
  model.serve(tokens_from(200, 5));  // takes two: the older ones' last
  EXPECT_EQ(model.cache.reusable_tokens(start_of(tokens_from(0, 13))), 4);
  EXPECT_EQ(model.cache.reusable_tokens(start_of(tokens_from(100, 13))), 12);
  model.serve(tokens_from(0, 5));  // used again: now it is the newest
  model.serve(tokens_from(300, 8));
  EXPECT_EQ(model.cache.reusable_tokens(start_of(tokens_from(0, 13))), 4);
  EXPECT_EQ(model.cache.reusable_tokens(start_of(tokens_from(100, 13))), 8);
}

TEST(KvCache, PriorityDecidesBeforeAge) {
  CacheModel model(settings_with({{.blocks = 6}}));
  const KvRetention high{.ranges = {{.priority = 80}}};
  const KvRetention low{.ranges = {{.priority = 10}}};
  model.serve(tokens_from(0, 12), {}, &high);
  model.serve(tokens_from(100, 12), {}, &low);
  model.serve(tokens_from(200, 12));
  EXPECT_EQ(model.cache.reusable_tokens(start_of(tokens_from(0, 13))), 12);
  EXPECT_EQ(model.cache.reusable_tokens(start_of(tokens_from(100, 13))), 0);
  model.serve(tokens_from(300, 12));
  EXPECT_EQ(model.cache.reusable_tokens(start_of(tokens_from(0, 13))), 12);
  EXPECT_EQ(model.cache.reusable_tokens(start_of(tokens_from(200, 13))), 0);
}

TEST(KvCache, ALowParentOutlivesItsHighChild) {
  CacheModel model(settings_with({{.blocks = 4}}));
  const KvRetention retention{.ranges = {{.end = 4, .priority = 0}, {.begin = 4, .priority = 90}}};
  model.serve(tokens_from(0, 8), {}, &retention);
  model.serve(tokens_from(100, 8));
  model.serve(tokens_from(200, 4));  // the other two are the least now, and the last of them goes
  EXPECT_EQ(model.cache.reusable_tokens(start_of(tokens_from(0, 9))), 8);
  EXPECT_EQ(model.cache.reusable_tokens(start_of(tokens_from(100, 9))), 4);
}

TEST(KvCache, PrioritiesEnd) {
  CacheModel model(settings_with({{.blocks = 6}}));
  const KvRetention brief{.ranges = {{.priority = 80, .duration_seconds = 10}}};
  model.serve(tokens_from(0, 12), {}, &brief);
  model.now = 9;  // counted from when it was last used
  model.serve(tokens_from(0, 12));
  model.now = 18;
  model.serve(tokens_from(100, 12));
  model.serve(tokens_from(200, 12));
  EXPECT_EQ(model.cache.reusable_tokens(start_of(tokens_from(0, 13))), 12);
  model.now = 19.5;
  model.serve(tokens_from(300, 12));
  EXPECT_EQ(model.cache.reusable_tokens(start_of(tokens_from(0, 13))), 0);
}

TEST(KvCache, OutputHasAPriorityOfItsOwn) {
  const KvRetention retention{.ranges = {{.priority = 60}, {.begin = 5, .end = 6, .priority = 70}},
                              .decode_priority = 20};
  KvCacheSettings settings = settings_with({{.blocks = 20}});
  settings.event_capacity = 100;
  CacheModel events(settings);
  auto a = events.start(tokens_from(0, 10), 20, {}, &retention);
  ASSERT_TRUE(a);
  a->tokens = tokens_from(0, 16);
  EXPECT_TRUE(events.run(*a));
  std::vector<std::int32_t> priorities;
  const auto stored = events.cache.take_events();
  for (const KvCacheEvent& event : stored) priorities.push_back(event.priority);
  EXPECT_THAT(priorities, ElementsAre(60, 70, 20, 20));
}

TEST(KvCache, WhoSaysNothingLeavesAPriorityAsItIs) {
  CacheModel model(settings_with({{.blocks = 6}}));
  const KvRetention high{.ranges = {{.priority = 80}}};
  const KvRetention nothing;
  model.serve(tokens_from(0, 12), {}, &high);
  model.serve(tokens_from(0, 12), {}, &nothing);
  model.serve(tokens_from(100, 12));
  model.serve(tokens_from(200, 12));
  EXPECT_EQ(model.cache.reusable_tokens(start_of(tokens_from(0, 13))), 12);
}

TEST(KvCache, RefusesPrioritiesOutOfRange) {
  CacheModel model(settings_with({{.blocks = 20}}));
  const Tokens tokens = tokens_from(0, 4);
  const KvRetention wrong{.ranges = {{.priority = 101}}};
  EXPECT_THROW(model.cache.start({.tokens = tokens, .retention = &wrong}, 0), Error);
  EXPECT_EQ(model.cache.reserved_blocks(0), 0);
}

TEST(KvCache, AWindowHoldsItsTokensAStepAndABlock) {
  const std::int64_t window = 10;
  const std::int64_t step = 7;
  CacheModel model(settings_with({{.window = window, .blocks = 6}}, step));
  auto a = model.start(tokens_from(0, 200), 200);
  ASSERT_TRUE(a);
  while (a->cached < 200) {
    ASSERT_TRUE(model.plan(*a, std::min<std::int64_t>(step, 200 - a->cached)));
    EXPECT_LE(model.cache.statistics().used_blocks * 4, window + step + 1 + 4 + 3);
    model.step();
    model.cache.check_invariants();
  }
  EXPECT_EQ(a->tables[0][0], -1);
  EXPECT_EQ(model.cache.statistics().total_blocks, 6);
}

TEST(KvCache, APrefixIsFoundAsFarAsEveryGroupHasIt) {
  // The window's pool is too small to keep what the other keeps.
  CacheModel model(settings_with({{.blocks = 40}, {.window = 4, .blocks = 7}}, 8));
  model.serve(tokens_from(0, 40));
  model.serve(tokens_from(100, 12));  // takes the window's oldest: a longer prefix needs none
  EXPECT_EQ(model.cache.reusable_tokens(start_of(tokens_from(0, 9))), 0);
  EXPECT_EQ(model.cache.reusable_tokens(start_of(tokens_from(0, 41))), 40);
  model.serve(tokens_from(200, 40));  // takes all of them
  EXPECT_EQ(model.cache.reusable_tokens(start_of(tokens_from(0, 41))), 0);
  EXPECT_EQ(model.cache.reusable_tokens(start_of(tokens_from(200, 41))), 40);
  EXPECT_EQ(model.serve(tokens_from(200, 40) + tokens_from(300, 8)), 40);
}

TEST(KvCache, ClearForgetsWhatNobodyHolds) {
  CacheModel model(settings_with({{.blocks = 20}}));
  model.serve(tokens_from(0, 12));
  auto a = model.start(tokens_from(0, 5), 5);
  ASSERT_TRUE(a);
  model.cache.clear_reusable();
  model.cache.check_invariants();
  EXPECT_EQ(model.cache.reusable_tokens(start_of(tokens_from(0, 12))), 4);
  EXPECT_TRUE(model.run(*a));
  model.release(*a);
  model.cache.clear_reusable();
  EXPECT_EQ(model.cache.statistics().free_blocks, 20);
}

TEST(KvCache, TablesTellWhatChanged) {
  KvCache cache(settings_with({{.blocks = 20}}));
  const Tokens tokens = tokens_from(0, 9);
  const auto started = cache.start({.tokens = tokens}, 0);
  ASSERT_TRUE(started);
  EXPECT_THAT(cache.take_table_changes(started->handle), IsEmpty());
  cache.grow(started->handle, 6, 0);
  auto changes = cache.take_table_changes(started->handle);
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].begin, 0);
  EXPECT_EQ(changes[0].blocks.size(), 2U);
  cache.grow(started->handle, 8, 0);
  EXPECT_THAT(cache.take_table_changes(started->handle), IsEmpty());
  cache.grow(started->handle, 9, 0);
  changes = cache.take_table_changes(started->handle);
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].begin, 2);
  EXPECT_EQ(changes[0].blocks.size(), 1U);
  changes = cache.take_table_changes(started->handle, true);
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].blocks.size(), 3U);
}

TEST(KvCache, CountsPromptTokens) {
  CacheModel model(settings_with({{.blocks = 20}}));
  model.serve(tokens_from(0, 12));
  model.serve(tokens_from(0, 12));
  const KvCacheStatistics counts = model.cache.statistics();
  EXPECT_EQ(counts.reused_tokens, 11U);
  EXPECT_EQ(counts.missed_tokens, 13U);
  EXPECT_DOUBLE_EQ(counts.hit_rate(), 11.0 / 24);
  EXPECT_EQ(counts.tokens_per_block, 4);
}

TEST(KvCache, EventsTellWhatCanBeFound) {
  KvCacheSettings settings = settings_with({{.blocks = 2}});
  settings.event_capacity = 3;
  CacheModel model(settings);
  model.serve(tokens_from(0, 8));
  auto events = model.cache.take_events();
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].kind, KvCacheEvent::Kind::kStored);
  EXPECT_EQ(events[0].id, 1U);
  EXPECT_EQ(events[0].parent_hash, 0U);
  EXPECT_EQ(events[1].parent_hash, events[0].block_hash);
  EXPECT_THAT(events[1].tokens, ElementsAre(4, 5, 6, 7));
  model.serve(tokens_from(100, 8));  // two are gone, two are new: the first event is dropped
  const auto more = model.cache.take_events();
  ASSERT_EQ(more.size(), 3U);
  EXPECT_EQ(more[0].id, 4U);
  EXPECT_EQ(more[0].kind, KvCacheEvent::Kind::kRemoved);
  EXPECT_EQ(more[0].block_hash, events[0].block_hash);
  EXPECT_THAT(model.cache.take_events(), IsEmpty());
}

TEST(KvCache, RefusesSizesThatCannotBe) {
  EXPECT_THROW(KvCache(settings_with({{.blocks = -1}})), Error);
  EXPECT_THROW(KvCache(settings_with({{.window = -1, .blocks = 1}})), Error);
  EXPECT_THROW(KvCache(settings_with({{.blocks = std::int64_t{1} << 31}})), Error);
}

TEST(KvCache, AHandleThatWasReleasedIsABug) {
  KvCache cache(settings_with({{.blocks = 4}}));
  const Tokens tokens = tokens_from(0, 4);
  const auto started = cache.start({.tokens = tokens}, 0);
  cache.release(started->handle, 0);
  EXPECT_THROW(cache.grow(started->handle, 1, 0), Error);
  EXPECT_THROW(cache.grow(-1, 1, 0), Error);
}

}  // namespace
}  // namespace tenon
