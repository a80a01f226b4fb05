// SPDX-License-Identifier: Apache-2.0
#include "ops/rope_cache_write.h"

#include "ops/shape_rule.h"

namespace tenon {

std::vector<ValueType> infer_types(const RopeCacheWrite& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights) {
  shape_rule::counts(op.kName, inputs, 4, weights, 0);
  TENON_CHECK(op.rope.head_dim == op.write.head_dim, ErrorCode::kCorrupt,
              "[rope_cache_write] rope.head_dim is {} but write.head_dim is {}", op.rope.head_dim,
              op.write.head_dim);
  const ValueType rotate_q[] = {inputs[0], inputs[3]};
  const ValueType keys_values[] = {inputs[1], inputs[2]};
  std::vector<ValueType> outputs = infer_types(op.rope, rotate_q, {});
  outputs.push_back(infer_types(op.write, keys_values, {}).front());
  shape_rule::same_rows(op.kName, "q", inputs[0], "k", inputs[1]);
  return outputs;
}

}  // namespace tenon
