// CacheWrite: this step's keys and values into the paged cache.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ops/op_common.h"

namespace tenon {

struct CacheWrite {
  static constexpr const char* kName = "cache_write";
  std::int64_t cache_layer = 0;  ///< index among the program's cached layers (EngineTraits)
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;

  /// inputs: k, v [T, kv_heads * head_dim]; output: cache.
  static auto fields() {
    return std::tuple(field("cache_layer", &CacheWrite::cache_layer),
                      field("kv_heads", &CacheWrite::kv_heads),
                      field("head_dim", &CacheWrite::head_dim));
  }
};

std::vector<ValueType> infer_types(const CacheWrite& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights);

}  // namespace tenon
