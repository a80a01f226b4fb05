// Which keys a row of a query tile sees, and scores on the way to base-2 exponents: shared by the
// tensor-core kernels. Rows of a tile are (token, head of the group) pairs, heads side by side, so
// that all heads which read one key are multiplied with it at once.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cuda/device/attention_mma.cuh"
#include "backends/cuda/device/element.h"
#include "backends/cuda/device/key_rows.h"

namespace tenon::cuda {

inline constexpr float kLog2E = 1.4426950408889634F;

/// CacheLayer::row_of, without the divisions that a device has no instruction for: a block has 16,
/// 32, 64 or 128 tokens (engine/cache_size.h).
__device__ inline std::int64_t cache_row(const CacheLayer& layer, std::int32_t slot,
                                         std::int32_t place, std::int32_t head) {
  const auto at = static_cast<std::uint32_t>(place);
  const std::uint32_t block = at >> (31 - __clz(layer.block_tokens));
  return layer.row(layer.tables[static_cast<std::int64_t>(slot) * layer.table_stride + block], head,
                   static_cast<std::int32_t>(at & (layer.block_tokens - 1)));
}

/// Softcap, alibi or a relative bias: scores are more than scaled products.
__host__ __device__ inline bool has_score_extras(const AttentionArguments& a) {
  return a.softcap > 0.F || a.alibi_slopes != nullptr || a.relative_bias != nullptr;
}

/// One row, as a thread needs it.
struct QueryRow {
  std::int32_t token = 0;  ///< of the sequence's tokens in the step
  std::int32_t head = 0;
  std::int32_t place = 0;
  std::int32_t begin = 0;  ///< keys it sees
  std::int32_t end = 0;
};

__device__ inline QueryRow query_row(const AttentionArguments& a, std::int32_t row,
                                     std::int32_t tokens, std::int32_t cached,
                                     std::int32_t kv_head) {
  const std::int32_t group = a.heads / a.kv_heads;
  QueryRow out;
  out.token = row / group;
  out.head = kv_head * group + row - out.token * group;
  out.place = cached + out.token;
  if (out.token >= tokens) {  // past the sequence: sees nothing
    out.head = kv_head * group;
    return out;
  }
  const KeyRange range = key_range(a, out.place, cached + tokens);
  out.begin = static_cast<std::int32_t>(range.begin);
  out.end = static_cast<std::int32_t>(range.end);
  return out;
}

/// The exponent of 2 that a product stands for, before its row's largest is taken off.
template <bool kExtras>
__device__ inline float exponent_of(const AttentionArguments& a, float dot, const QueryRow& row,
                                    std::int32_t key) {
  if constexpr (kExtras)
    return __fmul_rn(kLog2E, attention_score(a, dot, row.head, key - row.place));
  return __fmul_rn(dot, a.scale * kLog2E);  // never part of a fused product: one result a row
}

/// A row's running maximum and sum. Takes in the largest exponent of new keys and gives what the
/// sums so far must be multiplied with; rows that have seen nothing keep a largest of -inf, and
/// `base` (what to subtract from exponents) is then 0.
struct RunningSoftmax {
  float largest = -INFINITY;
  float total = 0.F;
  __device__ float raise(float candidate, float& base) {
    const float next = fmaxf(largest, candidate);
    base = next == -INFINITY ? 0.F : next;
    const float shrink = power_of_two(largest - base);
    largest = next;
    total *= shrink;
    return shrink;
  }
};

/// Two neighbouring elements of an output row.
__device__ inline void store_pair(void* out, DataType type, std::int64_t at, float a, float b) {
  if (type == DataType::kFloat32)
    *reinterpret_cast<float2*>(static_cast<float*>(out) + at) = make_float2(a, b);
  else if (type == DataType::kBFloat16)
    *reinterpret_cast<std::uint32_t*>(static_cast<__nv_bfloat16*>(out) + at) =
        pack<__nv_bfloat16>(a, b);
  else
    *reinterpret_cast<std::uint32_t*>(static_cast<__half*>(out) + at) = pack<__half>(a, b);
}

}  // namespace tenon::cuda
