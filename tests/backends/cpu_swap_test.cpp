// Cache commands on the CPU: a block that is copied, or goes to memory or a file and comes back,
// has every layer's keys, values and scales; what the disk refuses is an error.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <cstring>
#include <filesystem>
#include <random>

#include "backends/cpu/paged_cache.h"
#include "tenon/error.h"

namespace tenon::cpu {
namespace {

using Kind = CacheCommand::Kind;

constexpr std::int64_t kBlocks = 4;
constexpr std::int64_t kHost = 2;
constexpr std::int64_t kDisk = 3;

std::vector<CacheGroupDescription> groups_of(DataType dtype) {
  CacheGroupDescription group{.layers = {0, 2},
                              .kv_heads = 2,
                              .head_dim = 6,
                              .dtype = dtype,
                              .tokens_per_block = 20,  // keys are padded to 32
                              .blocks = kBlocks,
                              .host_blocks = kHost,
                              .disk_blocks = kDisk};
  CacheGroupDescription other = group;
  other.layers = {1};
  other.window = 40;
  other.kv_heads = 1;
  return {group, other};
}

class CpuSwap : public testing::TestWithParam<DataType> {
 protected:
  CpuSwap() {
    for (std::int64_t layer = 0; layer < 3; ++layer)
      for (std::int32_t block = 0; block < kBlocks; ++block) fill(layer, block);
  }

  // New keys and values in every place of the block.
  void fill(std::int64_t layer, std::int32_t block) {
    const CacheLayer& at = cache_.layer(layer);
    for (std::int64_t token = 0; token < at.block_tokens; ++token)
      for (std::int64_t head = 0; head < at.kv_heads; ++head) {
        std::vector<float> key(static_cast<std::size_t>(at.head_dim));
        std::vector<float> value(key.size());
        for (float& x : key) x = normal_(random_);
        for (float& x : value) x = normal_(random_);
        write_token(at, block, token, head, key.data(), value.data());
      }
  }

  std::vector<float> content(std::int64_t layer, std::int32_t block) const {
    const CacheLayer& at = cache_.layer(layer);
    std::vector<float> out;
    std::vector<float> row(static_cast<std::size_t>(at.head_dim));
    for (std::int64_t token = 0; token < at.block_tokens; ++token)
      for (std::int64_t head = 0; head < at.kv_heads; ++head) {
        read_key(at, block, token, head, row.data());
        out.insert(out.end(), row.begin(), row.end());
        read_value(at, block, token, head, row.data());
        out.insert(out.end(), row.begin(), row.end());
      }
    return out;
  }
  std::vector<std::vector<float>> group_content(int group, std::int32_t block) const {
    if (group == 1) return {content(1, block)};
    return {content(0, block), content(2, block)};
  }
  void fill_group(int group, std::int32_t block) {
    for (const std::int64_t layer : groups_[static_cast<std::size_t>(group)].layers)
      fill(layer, block);
  }

  std::mt19937 random_{7};
  std::normal_distribution<float> normal_;
  std::vector<CacheGroupDescription> groups_ = groups_of(GetParam());
  PagedCache cache_{groups_, std::filesystem::temp_directory_path().string()};
};

TEST_P(CpuSwap, CopyTakesEveryLayerOfItsGroupAlone) {
  for (const int group : {0, 1}) {
    const auto source = group_content(group, 1);
    const auto other = group_content(1 - group, 3);
    const auto neighbour = group_content(group, 2);
    ASSERT_NE(group_content(group, 3), source);
    cache_.run({Kind::kCopyBlock, group, 1, 3});
    EXPECT_EQ(group_content(group, 3), source);
    EXPECT_EQ(group_content(group, 1), source);
    EXPECT_EQ(group_content(group, 2), neighbour);
    EXPECT_EQ(group_content(1 - group, 3), other);
  }
}

TEST_P(CpuSwap, BlocksComeBackFromMemoryAndFile) {
  // Every swapped block in use at once, each with content of its own.
  for (const int group : {0, 1}) {
    std::vector<std::vector<std::vector<float>>> saved;
    for (std::int32_t swapped = 0; swapped < kHost + kDisk; ++swapped) {
      fill_group(group, 1);
      saved.push_back(group_content(group, 1));
      cache_.run({Kind::kSwapOut, group, 1, swapped});
    }
    fill_group(group, 1);
    for (std::int32_t swapped = 0; swapped < kHost + kDisk; ++swapped) {
      cache_.run({Kind::kSwapIn, group, swapped, 2});
      EXPECT_EQ(group_content(group, 2), saved[static_cast<std::size_t>(swapped)]) << swapped;
    }
  }
}

TEST_P(CpuSwap, MovesBetweenMemoryAndFile) {
  const auto saved = group_content(0, 0);
  cache_.run({Kind::kSwapOut, 0, 0, 0});
  // memory to memory, to file, to file, to memory
  std::int32_t at = 0;
  for (const std::int32_t next : {1, 2, 4, 0}) {
    cache_.run({Kind::kMoveSwapped, 0, at, next});
    at = next;
    fill_group(0, 0);
    cache_.run({Kind::kSwapIn, 0, at, 0});
    EXPECT_EQ(group_content(0, 0), saved) << at;
  }
}

TEST_P(CpuSwap, RefusesBlocksThatAreNotThere) {
  for (const CacheCommand& command :
       {CacheCommand{Kind::kCopyBlock, 0, 0, kBlocks}, CacheCommand{Kind::kCopyBlock, 0, -1, 0},
        CacheCommand{Kind::kSwapOut, 0, kBlocks, 0},
        CacheCommand{Kind::kSwapOut, 0, 0, kHost + kDisk},
        CacheCommand{Kind::kSwapIn, 0, kHost + kDisk, 0},
        CacheCommand{Kind::kMoveSwapped, 0, 0, kHost + kDisk},
        CacheCommand{Kind::kMoveSwapped, 2, 0, 0}})
    EXPECT_THROW(cache_.run(command), Error) << command.source << " " << command.destination;
}

TEST_P(CpuSwap, PlansTheMemoryAlone) {
  auto one = groups_;
  for (CacheGroupDescription& group : one) group.host_blocks = 1;
  const std::int64_t bytes = PagedCache::swapped_bytes(one);
  const auto size = static_cast<std::int64_t>(size_of(GetParam()));
  const std::int64_t scales = GetParam() == DataType::kInt8 ? 2 * 32 * 4 : 0;
  EXPECT_EQ(bytes, 5 * ((32 + 20) * 6 * size + scales));  // five heads: 2 layers of 2, 1 of 1
  EXPECT_EQ(PagedCache::swapped_bytes(groups_), kHost * bytes);
}

INSTANTIATE_TEST_SUITE_P(Types, CpuSwap,
                         testing::Values(DataType::kFloat32, DataType::kFloat16,
                                         DataType::kBFloat16, DataType::kInt8),
                         [](const auto& type) { return std::string(to_string(type.param)); });

ErrorCode refusal(std::int64_t blocks, std::int64_t bytes, const std::string& directory) {
  try {
    const SwapSpace space(0, blocks, bytes, directory);
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("disk_cache_directory"));
    return error.code();
  }
  return ErrorCode::kInternal;
}

TEST(CpuSwapSpace, NamesWhatIsMissing) {
  EXPECT_EQ(refusal(1, 64, ""), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refusal(1, 64, "/nonexistent/folder"), ErrorCode::kIo);
}

TEST(CpuSwapSpace, AFullDiskIsAnErrorAtOnce) {
  const std::string directory = std::filesystem::temp_directory_path().string();
  EXPECT_EQ(refusal(std::int64_t{1} << 31, std::int64_t{1} << 31, directory), ErrorCode::kIo);
}

TEST(CpuSwapSpace, LeavesNoFileBehind) {
  const auto folder = std::filesystem::temp_directory_path() /
                      ("tenon-swap-test-" + std::to_string(std::random_device{}()));
  std::filesystem::create_directory(folder);
  {
    SwapSpace space(1, 2, 4096, folder.string());
    EXPECT_TRUE(std::filesystem::is_empty(folder));
  }
  std::filesystem::remove(folder);
}

}  // namespace
}  // namespace tenon::cpu
