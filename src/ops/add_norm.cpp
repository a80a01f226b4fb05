// SPDX-License-Identifier: Apache-2.0
#include "ops/add_norm.h"

#include "ops/shape_rule.h"

namespace tenon {

std::vector<ValueType> infer_types(const AddNorm& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights) {
  shape_rule::counts(op.kName, inputs, 2, weights, op.has_bias ? 2 : 1);
  const std::int64_t width = shape_rule::float_matrix(op.kName, "a", inputs[0]);
  shape_rule::same_type(op.kName, "a", inputs[0], "b", inputs[1]);
  TENON_CHECK(op.kind != NormKind::kGroup, ErrorCode::kCorrupt,
              "[add_norm] kind is group, expected rms or layer");
  shape_rule::finite(op.kName, "eps", op.eps);
  shape_rule::finite(op.kName, "weight_offset", op.weight_offset);
  shape_rule::norm_weights(op.kName, weights, width, op.has_bias);
  return {inputs[0], inputs[0]};
}

}  // namespace tenon
