// SPDX-License-Identifier: Apache-2.0
#include "ops/linear.h"

#include "ops/shape_rule.h"

namespace tenon {

std::vector<ValueType> infer_types(const Linear& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights) {
  shape_rule::in_range(op.kName, "segments", op.segments, 1, 64);
  const auto segments = static_cast<std::size_t>(op.segments);
  shape_rule::counts(op.kName, inputs, 1, weights, op.has_bias ? 2 * segments : segments);
  const std::int64_t width = shape_rule::float_matrix(op.kName, "x", inputs[0]);
  std::vector<ValueType> outputs;
  for (std::size_t i = 0; i < segments; ++i) {
    const Shape& matrix = weights[i];
    TENON_CHECK(matrix.size() == 2 && matrix[0] > 0 && matrix[1] == width, ErrorCode::kCorrupt,
                "[linear] weight {} is {}, expected [any, {}] for x {}", i, to_string(matrix),
                width, to_string(inputs[0]));
    if (op.has_bias)
      shape_rule::weight(op.kName, fmt::format("{} (bias)", segments + i), weights[segments + i],
                         {matrix[0]});
    outputs.push_back(ValueType::tensor(inputs[0].dtype, {inputs[0].shape[0], matrix[0]}));
  }
  return outputs;
}

}  // namespace tenon
