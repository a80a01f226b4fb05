// SPDX-License-Identifier: Apache-2.0
#include "engine/cache_size.h"

#include <algorithm>
#include <limits>

#include "core/check.h"
#include "core/ledger.h"

namespace tenon {
namespace {

constexpr std::int64_t kMaxTokens = std::int64_t{1} << 40;
constexpr std::int64_t kMaxBlocks = std::numeric_limits<std::int32_t>::max();
constexpr std::int64_t kMaxBytes = std::int64_t{1} << 62;
constexpr std::int64_t kNoCap = std::numeric_limits<std::int64_t>::max();

std::int64_t blocks_for(std::int64_t tokens, std::int64_t per_block) {
  return (tokens + per_block - 1) / per_block;
}

/// Blocks that a group can use at most.
std::int64_t cap_of(const CacheNeed& need, const CacheBounds& bounds) {
  if (need.window == 0) return kNoCap;
  const std::int64_t tokens = need.window + bounds.max_step_tokens;
  return bounds.max_sequences * (blocks_for(tokens, bounds.tokens_per_block) + 1);
}

/// Bytes of all groups where each has `blocks`, or its cap.
double bytes_of(std::span<const CacheNeed> needs, const CacheBounds& bounds, std::int64_t blocks) {
  double sum = 0;
  for (const CacheNeed& need : needs)
    sum += static_cast<double>(std::min(blocks, cap_of(need, bounds))) *
           static_cast<double>(need.block_bytes);
  return sum;
}

/// The most blocks a group, up to `most`, that fit into `bytes`.
std::int64_t blocks_within(std::span<const CacheNeed> needs, const CacheBounds& bounds,
                           std::int64_t bytes, std::int64_t most) {
  std::int64_t low = 0;
  while (low < most) {
    const std::int64_t middle = low + (most - low + 1) / 2;
    if (bytes_of(needs, bounds, middle) <= static_cast<double>(bytes))
      low = middle;
    else
      most = middle - 1;
  }
  return low;
}

struct Wanted {
  std::int64_t blocks = 0;
  std::string reason;
};

Wanted wanted_blocks(std::span<const CacheNeed> needs, const CacheBounds& bounds,
                     const KvCacheConfig& config) {
  const std::int64_t per_block = bounds.tokens_per_block;
  const auto within = [&](std::int64_t bytes, std::int64_t most) {
    return blocks_within(needs, bounds, std::max<std::int64_t>(bytes, 0), most);
  };
  if (config.max_tokens) {
    TENON_CHECK(*config.max_tokens >= 1 && *config.max_tokens <= kMaxTokens,
                ErrorCode::kInvalidArgument,
                "max_tokens_in_paged_kv_cache {} is out of range, expected 1 to {}",
                *config.max_tokens, kMaxTokens);
    return {blocks_for(*config.max_tokens, per_block), "as asked for"};
  }
  const std::int64_t one_each = static_cast<std::int64_t>(bytes_of(needs, bounds, 1));
  // Every sequence of the largest batch at its longest.
  const std::int64_t all = bounds.max_sequences * blocks_for(bounds.max_sequence_length, per_block);
  if (config.max_bytes) {
    TENON_CHECK(*config.max_bytes >= one_each, ErrorCode::kInvalidArgument,
                "max_bytes of the KV cache: {}; one block of {} tokens in every layer takes {}",
                format_bytes(*config.max_bytes), per_block, format_bytes(one_each));
    return {within(*config.max_bytes, kMaxBlocks), "as asked for"};
  }
  if (config.free_memory_fraction) {
    const double fraction = *config.free_memory_fraction;
    TENON_CHECK(fraction > 0.0 && fraction <= 1.0, ErrorCode::kInvalidArgument,
                "free_memory_fraction of the KV cache: {}, expected more than 0 and at most 1",
                fraction);
    const auto bytes = static_cast<std::int64_t>(
        fraction * static_cast<double>(std::max<std::int64_t>(bounds.free_bytes, 0)));
    TENON_CHECK(bytes >= one_each, ErrorCode::kResourceExhausted,
                "the KV cache may take {} ({} of {} free); one block of {} tokens in every layer "
                "takes {}",
                format_bytes(bytes), fraction, format_bytes(bounds.free_bytes), per_block,
                format_bytes(one_each));
    return {within(bytes, kMaxBlocks),
            fmt::format("{} of {} free", fraction, format_bytes(bounds.free_bytes))};
  }
  const std::int64_t affordable = within(bounds.free_bytes / 2, all);
  if (affordable == all)
    return {all, fmt::format("{} sequences of {} tokens", bounds.max_sequences,
                             bounds.max_sequence_length)};
  // One sequence at least: where that does not fit, the plan says so.
  return {std::max(affordable, blocks_for(bounds.max_sequence_length, per_block)),
          fmt::format("half of {} free", format_bytes(bounds.free_bytes))};
}

/// Swapped blocks: `bytes` shared among the groups as their blocks on the device are.
std::int64_t swapped_blocks(std::int64_t bytes, std::int64_t blocks, std::int64_t device_bytes) {
  if (bytes == 0 || device_bytes == 0) return 0;
  const double share = static_cast<double>(bytes) / static_cast<double>(device_bytes);
  return static_cast<std::int64_t>(
      std::min(static_cast<double>(blocks) * share, static_cast<double>(kMaxBlocks)));
}

}  // namespace

void check_tokens_per_block(std::int64_t tokens_per_block) {
  TENON_CHECK(tokens_per_block == 16 || tokens_per_block == 32 || tokens_per_block == 64 ||
                  tokens_per_block == 128,
              ErrorCode::kInvalidArgument, "tokens_per_block {}: expected 16, 32, 64 or 128",
              tokens_per_block);
}

CacheSizes size_cache(std::span<const CacheNeed> needs, const CacheBounds& bounds,
                      const KvCacheConfig& config) {
  CacheSizes sizes;
  if (needs.empty()) return sizes;
  TENON_CHECK(config.host_cache_bytes >= 0 && config.disk_cache_bytes >= 0,
              ErrorCode::kInvalidArgument,
              "host_cache_bytes {} and disk_cache_bytes {} must not be negative",
              config.host_cache_bytes, config.disk_cache_bytes);
  TENON_CHECK(config.disk_cache_bytes == 0 || !config.disk_cache_directory.empty(),
              ErrorCode::kInvalidArgument,
              "disk_cache_bytes {} needs disk_cache_directory: where its file goes",
              config.disk_cache_bytes);
  const Wanted wanted = wanted_blocks(needs, bounds, config);
  sizes.reason = wanted.reason;
  for (const CacheNeed& need : needs) {
    const std::int64_t blocks = std::min(wanted.blocks, cap_of(need, bounds));
    sizes.groups.push_back({blocks});
    sizes.tokens = std::max(sizes.tokens, blocks * bounds.tokens_per_block);
  }
  sizes.bytes = static_cast<std::int64_t>(
      std::min(bytes_of(needs, bounds, wanted.blocks), static_cast<double>(kMaxBytes)));
  for (CacheBlocks& group : sizes.groups) {
    group.host_blocks = swapped_blocks(config.host_cache_bytes, group.blocks, sizes.bytes);
    group.disk_blocks = swapped_blocks(config.disk_cache_bytes, group.blocks, sizes.bytes);
  }
  return sizes;
}

}  // namespace tenon
