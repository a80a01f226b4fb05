// SPDX-License-Identifier: Apache-2.0
#include "ops/gated_linear.h"

#include "ops/shape_rule.h"

namespace tenon {

std::vector<ValueType> infer_types(const GatedLinear& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights) {
  shape_rule::counts(op.kName, inputs, 1, weights, op.has_bias ? 4 : 2);
  const std::int64_t width = shape_rule::float_matrix(op.kName, "x", inputs[0]);
  const Shape& gate = weights[0];
  TENON_CHECK(gate.size() == 2 && gate[0] > 0 && gate[1] == width, ErrorCode::kCorrupt,
              "[gated_linear] weight gate is {}, expected [any, {}] for x {}", to_string(gate),
              width, to_string(inputs[0]));
  shape_rule::weight(op.kName, "up", weights[1], gate);
  if (op.has_bias) {
    shape_rule::weight(op.kName, "gate bias", weights[2], {gate[0]});
    shape_rule::weight(op.kName, "up bias", weights[3], {gate[0]});
  }
  return {ValueType::tensor(inputs[0].dtype, {inputs[0].shape[0], gate[0]})};
}

}  // namespace tenon
