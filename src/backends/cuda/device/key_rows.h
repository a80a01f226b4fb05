// What a query of attention sees: the specification is backends/cpu/ref/attention.cpp.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "backends/cuda/device/cache_layer.h"
#include "backends/cuda/device/step_view.h"
#include "ops/op_common.h"

namespace tenon::cuda {

/// The attributes of Attention that kernels need, and its small tables, on the device.
struct AttentionArguments {
  AttentionSource source = AttentionSource::kPagedCache;
  AttentionMask mask = AttentionMask::kCausal;
  std::int32_t heads = 0;
  std::int32_t kv_heads = 0;
  std::int32_t head_dim = 0;
  float scale = 1.F;
  float softcap = 0.F;  ///< 0: none
  std::int64_t window = 0;
  const float* alibi_slopes = nullptr;   ///< [heads], null: no alibi
  const float* relative_bias = nullptr;  ///< [heads][2 * relative_reach + 1], of key - query
  std::int32_t relative_reach = 0;       ///< distances beyond it have the bias of this one
  CacheLayer layer;                      ///< kPagedCache
};

#ifdef __CUDACC__

/// Keys [begin, end) by place, of one query.
struct KeyRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

/// `place` of the query among `count` keys' places.
__device__ inline KeyRange key_range(const AttentionArguments& a, std::int64_t place,
                                     std::int64_t count) {
  KeyRange out{0, count};
  if (a.mask == AttentionMask::kCausal && out.end > place + 1) out.end = place + 1;
  if (a.window > 0) {
    if (place - a.window + 1 > 0) out.begin = place - a.window + 1;
    if (out.end > place + a.window) out.end = place + a.window;
  }
  return out;
}

/// A score from the dot product of query and key; `distance` = key's place - query's.
__device__ inline float attention_score(const AttentionArguments& a, float dot, std::int32_t head,
                                        std::int64_t distance) {
  float score = dot * a.scale;
  if (a.softcap > 0.F) score = a.softcap * tanhf(score / a.softcap);
  if (a.alibi_slopes != nullptr) score += a.alibi_slopes[head] * static_cast<float>(distance);
  if (a.relative_bias != nullptr) {
    const std::int64_t reach = a.relative_reach;
    const std::int64_t at = distance < -reach ? 0 : distance > reach ? 2 * reach : distance + reach;
    score += a.relative_bias[head * (2 * reach + 1) + at];
  }
  return score;
}

#endif  // __CUDACC__

}  // namespace tenon::cuda
