// Host memory and disk below the cache: what goes there, what comes back, in which order.
// SPDX-License-Identifier: Apache-2.0
#include "kv_cache_model.h"

namespace tenon {
namespace {

using testing::ElementsAre;
using Kind = CacheCommand::Kind;

KvCacheSettings settings_with(const KvCacheGroup& group) {
  KvCacheSettings out;
  out.groups = {group};
  out.tokens_per_block = 4;
  out.max_step_tokens = 64;
  return out;
}

std::int64_t reusable(const CacheModel& model, const Tokens& tokens) {
  return model.cache.reusable_tokens({.tokens = tokens});
}

std::vector<Kind> kinds(const std::vector<CacheCommand>& commands) {
  std::vector<Kind> out;
  for (const CacheCommand& command : commands) out.push_back(command.kind);
  return out;
}

TEST(KvCacheTiers, EvictedBlocksGoToTheHostAndComeBack) {
  CacheModel model(settings_with({.blocks = 4, .host_blocks = 8}));
  model.serve(tokens_from(0, 16));
  model.serve(tokens_from(100, 16));
  EXPECT_EQ(model.cache.statistics().swapped_out_blocks, 4U);
  EXPECT_EQ(model.cache.statistics().swapped_blocks, 4);
  EXPECT_EQ(reusable(model, tokens_from(0, 17)), 16);
  // The model compares what comes back with what was saved.
  EXPECT_EQ(model.serve(tokens_from(0, 14)), 13);
  EXPECT_EQ(model.cache.statistics().swapped_in_blocks, 4U);  // three whole, one for its beginning
  EXPECT_EQ(model.serve(tokens_from(100, 16)), 15);
}

TEST(KvCacheTiers, ABlockIsSavedBeforeItIsOverwritten) {
  KvCacheSettings settings = settings_with({.blocks = 2, .host_blocks = 4});
  CacheModel model(settings);
  model.serve(tokens_from(0, 8));
  model.serve(tokens_from(100, 8));
  const Tokens tokens = tokens_from(0, 9);
  // Both blocks come from the host; both on the device have to go there first.
  EXPECT_FALSE(model.cache.start({.tokens = tokens}, 0));
  const Tokens shorter = tokens_from(0, 8);
  const auto started = model.cache.start({.tokens = shorter}, 0);
  ASSERT_TRUE(started);
  EXPECT_EQ(started->cached_tokens, 7);
  const auto commands = model.cache.take_commands();
  EXPECT_THAT(kinds(commands),
              ElementsAre(Kind::kSwapOut, Kind::kSwapIn, Kind::kSwapOut, Kind::kSwapIn));
  EXPECT_EQ(commands[0].source, commands[1].destination);
  EXPECT_EQ(commands[2].source, commands[3].destination);
}

TEST(KvCacheTiers, AFullHostPassesItsLeastOnToDisk) {
  CacheModel model(settings_with({.blocks = 2, .host_blocks = 2, .disk_blocks = 2}));
  model.serve(tokens_from(0, 8));
  model.serve(tokens_from(100, 8));
  model.serve(tokens_from(200, 8));
  EXPECT_EQ(model.cache.statistics().swapped_blocks, 4);
  for (const int begin : {0, 100, 200}) EXPECT_EQ(reusable(model, tokens_from(begin, 9)), 8);
  EXPECT_EQ(model.serve(tokens_from(0, 8)), 7);  // from disk
  model.serve(tokens_from(300, 8));  // six blocks have places, eight are known: two are dropped
  const auto known = [&](int begin) { return reusable(model, tokens_from(begin, 9)); };
  EXPECT_EQ(known(0) + known(100) + known(200) + known(300), 24);
  EXPECT_EQ(known(300), 8);
}

TEST(KvCacheTiers, WithoutAHostBlocksGoToDiskAtOnce) {
  CacheModel model(settings_with({.blocks = 2, .disk_blocks = 2}));
  model.serve(tokens_from(0, 8));
  model.serve(tokens_from(100, 8));
  EXPECT_EQ(model.serve(tokens_from(0, 8)), 7);
  EXPECT_EQ(model.cache.statistics().swapped_in_blocks, 2U);
}

TEST(KvCacheTiers, WhatIsWorthLessThanAllInTheHostDoesNotGoThere) {
  CacheModel model(settings_with({.blocks = 2, .host_blocks = 2}));
  const KvRetention high{.ranges = {{.priority = 90}}};
  const KvRetention low{.ranges = {{.priority = 1}}};
  model.serve(tokens_from(0, 8), {}, &high);
  model.serve(tokens_from(100, 8), {}, &low);
  model.serve(tokens_from(200, 8));
  EXPECT_EQ(reusable(model, tokens_from(0, 9)), 8);
  EXPECT_EQ(reusable(model, tokens_from(100, 9)), 0);
}

TEST(KvCacheTiers, WhatAStartBringsBackIsNotPushedOutByIt) {
  // Host full of the very blocks that the start wants, and no room for what has to leave.
  CacheModel model(settings_with({.blocks = 3, .host_blocks = 3}));
  model.serve(tokens_from(0, 12));
  model.serve(tokens_from(100, 12));
  EXPECT_EQ(model.serve(tokens_from(0, 12)), 11);
  EXPECT_EQ(model.cache.statistics().swapped_in_blocks, 3U);
}

TEST(KvCacheTiers, EventsTellTheMove) {
  KvCacheSettings settings = settings_with({.blocks = 1, .host_blocks = 1});
  settings.event_capacity = 100;
  CacheModel model(settings);
  model.serve(tokens_from(0, 4));
  model.cache.take_events();
  model.serve(tokens_from(100, 4));
  auto events = model.cache.take_events();
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].kind, KvCacheEvent::Kind::kUpdated);
  EXPECT_FALSE(events[0].on_device);
  EXPECT_EQ(events[1].kind, KvCacheEvent::Kind::kStored);
  EXPECT_TRUE(events[1].on_device);
}

TEST(KvCacheTiers, RecomputedContentReplacesWhatWasSwapped) {
  CacheModel model(settings_with({.blocks = 4, .host_blocks = 8}));
  model.serve(tokens_from(0, 8));
  model.serve(tokens_from(100, 16));
  EXPECT_EQ(model.cache.statistics().swapped_blocks, 2);
  const Tokens tokens = tokens_from(0, 8);
  const auto started = model.cache.start({.tokens = tokens, .reuse = false}, 0);
  ASSERT_TRUE(started);
  ASSERT_TRUE(model.cache.grow(started->handle, 8, 0));
  model.cache.commit(started->handle, tokens, 8, 0);
  model.cache.check_invariants();
  EXPECT_EQ(model.cache.statistics().swapped_blocks, 2);  // those of the other that made room
  EXPECT_EQ(model.cache.statistics().swapped_in_blocks, 0U);
}

TEST(KvCacheTiers, ClearEmptiesEveryTier) {
  CacheModel model(settings_with({.blocks = 2, .host_blocks = 2, .disk_blocks = 2}));
  for (const int begin : {0, 100, 200}) model.serve(tokens_from(begin, 8));
  model.cache.clear_reusable();
  model.cache.check_invariants();
  EXPECT_EQ(model.cache.statistics().swapped_blocks, 0);
  EXPECT_EQ(model.cache.statistics().free_blocks, 2);
}

}  // namespace
}  // namespace tenon
