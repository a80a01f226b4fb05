// Sizes of the cache: by tokens, bytes or a fraction; windows; swap; what is refused.
// SPDX-License-Identifier: Apache-2.0
#include "engine/cache_size.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tenon/error.h"

namespace tenon {
namespace {

using ::testing::HasSubstr;

constexpr std::int64_t kBlock = 1000;  // bytes

CacheBounds bounds(std::int64_t free_bytes = 1'000'000) {
  return {.tokens_per_block = 32,
          .max_sequences = 4,
          .max_sequence_length = 1024,
          .max_step_tokens = 64,
          .free_bytes = free_bytes};
}

std::string refusal(const KvCacheConfig& config, std::int64_t free_bytes = 1'000'000) {
  const std::vector<CacheNeed> needs = {{0, kBlock}};
  try {
    size_cache(needs, bounds(free_bytes), config);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

std::int64_t blocks(const KvCacheConfig& config, std::int64_t free_bytes = 1'000'000) {
  const std::vector<CacheNeed> needs = {{0, kBlock}};
  const CacheSizes sizes = size_cache(needs, bounds(free_bytes), config);
  EXPECT_EQ(sizes.bytes, sizes.groups.at(0).blocks * kBlock);
  EXPECT_EQ(sizes.tokens, sizes.groups.at(0).blocks * 32);
  return sizes.groups.at(0).blocks;
}

TEST(CacheSize, TokensRoundUpToBlocks) {
  EXPECT_EQ(blocks({.max_tokens = 1}), 1);
  EXPECT_EQ(blocks({.max_tokens = 32}), 1);
  EXPECT_EQ(blocks({.max_tokens = 33}), 2);
}

TEST(CacheSize, BytesAndFractionsRoundDown) {
  EXPECT_EQ(blocks({.max_bytes = 10 * kBlock - 1}), 9);
  EXPECT_EQ(blocks({.free_memory_fraction = 0.5}, 101 * kBlock), 50);
  EXPECT_EQ(blocks({.free_memory_fraction = 1.0}, 101 * kBlock), 101);
}

TEST(CacheSize, TheFirstThatIsSetDecides) {
  EXPECT_EQ(blocks({.max_tokens = 64, .max_bytes = 100 * kBlock, .free_memory_fraction = 0.9}), 2);
}

TEST(CacheSize, UnsetTakesTheWholeBatchOrHalfOfWhatIsFree) {
  EXPECT_EQ(blocks({}), 4 * 32);
  EXPECT_EQ(blocks({}, 100 * kBlock), 50);
  EXPECT_EQ(blocks({}, 10 * kBlock), 32) << "one sequence: the plan says that it does not fit";
  EXPECT_EQ(blocks({}, -5), 32);
}

TEST(CacheSize, AWindowNeedsNoMoreThanItSees) {
  const std::vector<CacheNeed> needs = {{0, kBlock}, {64, 3 * kBlock}};
  // window 64 and a step of 64 are 4 blocks, and one more, for each of 4 sequences.
  const CacheSizes sizes = size_cache(needs, bounds(), {.max_tokens = 4096});
  EXPECT_EQ(sizes.groups[0].blocks, 128);
  EXPECT_EQ(sizes.groups[1].blocks, 20);
  EXPECT_EQ(sizes.tokens, 4096);
  EXPECT_EQ(sizes.bytes, (128 + 3 * 20) * kBlock);

  const CacheSizes few = size_cache(needs, bounds(), {.max_bytes = 40 * kBlock});
  EXPECT_EQ(few.groups[0].blocks, 10) << "below the cap all groups have the same tokens";
  EXPECT_EQ(few.groups[1].blocks, 10);
  const CacheSizes many = size_cache(needs, bounds(), {.max_bytes = 100 * kBlock});
  EXPECT_EQ(many.groups[0].blocks, 40) << "above it the rest goes to the others";
  EXPECT_EQ(many.groups[1].blocks, 20);
}

TEST(CacheSize, SwapIsSharedAsTheDeviceIs) {
  const std::vector<CacheNeed> needs = {{0, kBlock}, {64, 3 * kBlock}};
  KvCacheConfig config{.max_tokens = 4096};
  config.host_cache_bytes = 2 * (128 + 60) * kBlock;
  config.disk_cache_bytes = (128 + 60) * kBlock / 2;
  config.disk_cache_directory = "/tmp";
  const CacheSizes sizes = size_cache(needs, bounds(), config);
  EXPECT_EQ(sizes.groups[0].host_blocks, 256);
  EXPECT_EQ(sizes.groups[1].host_blocks, 40);
  EXPECT_EQ(sizes.groups[0].disk_blocks, 64);
  EXPECT_EQ(sizes.groups[1].disk_blocks, 10);
}

TEST(CacheSize, RefusalsNameTheField) {
  EXPECT_THAT(refusal({.max_tokens = 0}), HasSubstr("max_tokens_in_paged_kv_cache 0"));
  EXPECT_THAT(refusal({.max_tokens = std::int64_t{1} << 50}), HasSubstr("out of range"));
  EXPECT_THAT(refusal({.max_bytes = kBlock - 1}), HasSubstr("max_bytes"));
  EXPECT_THAT(refusal({.free_memory_fraction = 0.0}), HasSubstr("free_memory_fraction"));
  EXPECT_THAT(refusal({.free_memory_fraction = 1.5}), HasSubstr("free_memory_fraction"));
  EXPECT_THAT(refusal({.free_memory_fraction = 0.5}, kBlock), HasSubstr("0.5 of"));
  KvCacheConfig disk;
  disk.disk_cache_bytes = 1 << 20;
  EXPECT_THAT(refusal(disk), HasSubstr("disk_cache_directory"));
  disk.host_cache_bytes = -1;
  EXPECT_THAT(refusal(disk), HasSubstr("negative"));
  for (const std::int64_t size : {16, 32, 64, 128}) EXPECT_NO_THROW(check_tokens_per_block(size));
  for (const std::int64_t size : {0, 1, 8, 48, 256, -16})
    EXPECT_THROW(check_tokens_per_block(size), Error);
}

TEST(CacheSize, AModelWithoutACacheNeedsNone) {
  EXPECT_TRUE(size_cache({}, bounds(), {}).groups.empty());
}

}  // namespace
}  // namespace tenon
