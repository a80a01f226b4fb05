// SPDX-License-Identifier: Apache-2.0
#include "ops/cache_write.h"

#include "ops/shape_rule.h"

namespace tenon {

std::vector<ValueType> infer_types(const CacheWrite& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights) {
  shape_rule::counts(op.kName, inputs, 2, weights, 0);
  shape_rule::in_range(op.kName, "cache_layer", op.cache_layer, 0);
  shape_rule::in_range(op.kName, "kv_heads", op.kv_heads, 1);
  shape_rule::in_range(op.kName, "head_dim", op.head_dim, 1);
  shape_rule::float_columns(op.kName, "k", inputs[0], op.kv_heads * op.head_dim);
  shape_rule::same_type(op.kName, "k", inputs[0], "v", inputs[1]);
  return {ValueType::cache()};
}

}  // namespace tenon
