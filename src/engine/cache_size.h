// How many blocks each cache group gets: what was asked for, or what the memory that is left
// affords. Pure arithmetic; nothing here allocates.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tenon/kv_cache.h"

namespace tenon {

struct CacheNeed {
  std::int64_t window = 0;       ///< 0: the whole context
  std::int64_t block_bytes = 0;  ///< of one block in all layers of the group, on all ranks together
};

struct CacheBounds {
  std::int64_t tokens_per_block = 32;
  std::int64_t max_sequences = 1;
  std::int64_t max_sequence_length = 1;
  std::int64_t max_step_tokens = 1;
  std::int64_t free_bytes = 0;  ///< what everything but the cache leaves
};

struct CacheBlocks {
  std::int64_t blocks = 0;
  std::int64_t host_blocks = 0;
  std::int64_t disk_blocks = 0;
};

struct CacheSizes {
  std::vector<CacheBlocks> groups;  ///< one a need
  std::int64_t tokens = 0;          ///< of whole-context groups, or of the largest
  std::int64_t bytes = 0;           ///< on the device
  std::string reason;               ///< "max_tokens", "half of 11.2 GiB free", …
};

/// Groups with a window never need more than the window, a step and a block for each sequence; the
/// rest is shared evenly in tokens. Swap is shared as the device's blocks are. Throws
/// Error{kInvalidArgument} naming a field that is out of range, Error{kResourceExhausted} where not
/// even one block of each group fits.
CacheSizes size_cache(std::span<const CacheNeed> needs, const CacheBounds& bounds,
                      const KvCacheConfig& config);

/// 16, 32, 64 or 128. Throws Error{kInvalidArgument}.
void check_tokens_per_block(std::int64_t tokens_per_block);

}  // namespace tenon
