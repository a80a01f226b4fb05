// RopeCacheWrite (fused): rotates q and k, writes k and v into the paged cache. Equals Rope of q,
// Rope of k, then CacheWrite.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ops/cache_write.h"
#include "ops/rope.h"

namespace tenon {

struct RopeCacheWrite {
  static constexpr const char* kName = "rope_cache_write";
  Rope rope;  ///< of q; rope.heads are the query heads
  CacheWrite write;

  /// inputs: q [T, heads * head_dim], k, v [T, kv_heads * head_dim], positions int32 [T];
  /// outputs: rotated q, cache.
  static auto fields() {
    return std::tuple(field("rope", &RopeCacheWrite::rope), field("write", &RopeCacheWrite::write));
  }
};

std::vector<ValueType> infer_types(const RopeCacheWrite& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights);

}  // namespace tenon
