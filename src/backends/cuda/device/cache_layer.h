// CacheLayer: the paged keys and values of one cache layer, as every kernel sees them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "tenon/types.h"

namespace tenon::cuda {

/// Layout. A block holds `block_tokens` tokens; of each key-value head, a block's tokens lie
/// together, each with its features side by side (16-byte loads, and one box for a bulk copy):
///   keys, values  [blocks][kv_heads][block_tokens][head_dim]   of dtype
///   scales        [blocks][kv_heads][block_tokens]             fp32, where dtype is int8
/// Keys and values of a layer are separate pools, each kDeviceAlignment-aligned. Token at place p
/// of the sequence in slot s: block tables[s * table_stride + p / block_tokens], row
/// p % block_tokens. A block that fell out of the window is -1 and is never read.
struct CacheLayer {
  DataType dtype = DataType::kFloat32;  ///< float32, float16, bfloat16, float8_e4m3 or int8
  std::int32_t group = 0;
  std::int32_t kv_heads = 0;
  std::int32_t head_dim = 0;
  std::int32_t block_tokens = 0;
  std::int32_t blocks = 0;
  std::int32_t table_stride = 0;  ///< blocks a slot's table may have
  const std::int32_t* tables = nullptr;
  void* keys = nullptr;
  void* values = nullptr;
  float* key_scales = nullptr;
  float* value_scales = nullptr;

  /// Row of (block, head, token of the block) in keys and values: times head_dim gives elements;
  /// in the scales it is the element.
  __host__ __device__ std::int64_t row(std::int32_t block, std::int32_t head,
                                       std::int32_t token) const {
    return (static_cast<std::int64_t>(block) * kv_heads + head) * block_tokens + token;
  }
  /// The same of the token at `place` of a slot's sequence. Reads the table: device code alone.
  __device__ std::int64_t row_of(std::int32_t slot, std::int64_t place, std::int32_t head) const {
    const std::int32_t block =
        tables[static_cast<std::int64_t>(slot) * table_stride + place / block_tokens];
    return row(block, head, static_cast<std::int32_t>(place % block_tokens));
  }
};

}  // namespace tenon::cuda
