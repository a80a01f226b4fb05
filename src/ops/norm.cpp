// SPDX-License-Identifier: Apache-2.0
#include "ops/norm.h"

#include "ops/shape_rule.h"

namespace tenon {

std::vector<ValueType> infer_types(const Norm& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights) {
  shape_rule::counts(op.kName, inputs, 1, weights, op.has_bias ? 2 : 1);
  const std::int64_t width = shape_rule::float_matrix(op.kName, "x", inputs[0]);
  shape_rule::in_range(op.kName, "groups", op.groups, 1,
                       op.kind == NormKind::kGroup ? width : std::int64_t{1});
  TENON_CHECK(width % op.groups == 0, ErrorCode::kCorrupt,
              "[norm] {} groups do not divide the {} columns of x", op.groups, width);
  shape_rule::finite(op.kName, "eps", op.eps);
  shape_rule::finite(op.kName, "weight_offset", op.weight_offset);
  shape_rule::norm_weights(op.kName, weights, width, op.has_bias);
  return {inputs[0]};
}

}  // namespace tenon
