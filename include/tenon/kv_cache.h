// What a user may ask of the paged KV cache, and what it tells. Names follow TensorRT-LLM's
// KvCacheConfig and KvCacheRetentionConfig.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tenon/export.h"

namespace tenon {

/// Size and habits of the cache. The first of max_tokens, max_bytes and free_memory_fraction that
/// is set decides its size; none set: room for max_batch_size sequences of max_seq_len, at most
/// half of the free memory.
struct TENON_API KvCacheConfig {
  bool enable_block_reuse = true;                ///< prefixes that are equal are computed once
  bool enable_partial_reuse = true;              ///< also the equal part of a block, by copying it
  std::optional<std::int64_t> max_tokens{};      ///< size in tokens
  std::optional<std::int64_t> max_bytes{};       ///< size in bytes
  std::optional<double> free_memory_fraction{};  ///< of what is free after the weights, in (0, 1]
  std::int64_t host_cache_bytes = 0;   ///< evicted blocks go there and come back when needed
  std::int64_t disk_cache_bytes = 0;   ///< and from there to a file in disk_cache_directory
  std::string disk_cache_directory{};  ///< an existing folder
  std::int64_t event_buffer_size = 0;  ///< events kept for who asks; 0: none
  std::int64_t tokens_per_block = 0;   ///< 16, 32, 64 or 128; 0: the engine's
};

/// How long blocks of a prompt's tokens [begin, end) are worth keeping.
struct TENON_API KvRetentionRange {
  std::int64_t begin = 0;                    ///< index of the first token
  std::optional<std::int64_t> end{};         ///< unset: to the prompt's end
  std::int32_t priority = 35;                ///< 0: goes first … 100: goes last
  std::optional<double> duration_seconds{};  ///< then the priority falls back to 35
};

struct TENON_API KvRetention {
  std::vector<KvRetentionRange> ranges{};           ///< a later range wins where they overlap
  std::int32_t decode_priority = 35;                ///< of blocks with tokens of the output
  std::optional<double> decode_duration_seconds{};  ///< then 35, as of a range
};

struct TENON_API KvCacheStatistics {
  std::int64_t tokens_per_block = 0;     ///< of each block
  std::int64_t total_blocks = 0;         ///< of all groups
  std::int64_t used_blocks = 0;          ///< held by sequences
  std::int64_t reusable_blocks = 0;      ///< held by nobody, findable
  std::int64_t free_blocks = 0;          ///< empty
  std::int64_t swapped_blocks = 0;       ///< in host memory or on disk
  std::uint64_t reused_tokens = 0;       ///< prompt tokens that were found since the start
  std::uint64_t missed_tokens = 0;       ///< prompt tokens that had to be computed
  std::uint64_t evicted_blocks = 0;      ///< that left the device for room, since the start
  std::uint64_t swapped_out_blocks = 0;  ///< to host memory or disk, since the start
  std::uint64_t swapped_in_blocks = 0;   ///< and back, since the start
  std::uint64_t copied_blocks = 0;       ///< for partial reuse and for writing into shared blocks
  /// reused / (reused + missed); 0 before the first prompt.
  double hit_rate() const {
    const auto all = static_cast<double>(reused_tokens + missed_tokens);
    return all > 0 ? static_cast<double>(reused_tokens) / all : 0.0;
  }
};

/// A change in what can be found, for routers that send equal prefixes to the same engine.
struct TENON_API KvCacheEvent {
  enum class Kind : std::uint8_t {
    kStored,   ///< a block became findable
    kRemoved,  ///< it is gone
    kUpdated,  ///< it moved between device and host, or its priority changed
  };
  std::uint64_t id = 0;                ///< counts up from 1; a gap: events were dropped
  Kind kind = Kind::kStored;           ///< what happened
  std::uint64_t block_hash = 0;        ///< of the whole prefix up to the block's end
  std::uint64_t parent_hash = 0;       ///< 0: it begins a prompt
  std::vector<std::int32_t> tokens{};  ///< of the block (kStored)
  std::int32_t priority = 35;          ///< of the block now
  bool on_device = true;               ///< false: in host memory or on disk
};

}  // namespace tenon
