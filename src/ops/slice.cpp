// SPDX-License-Identifier: Apache-2.0
#include "ops/slice.h"

#include "ops/shape_rule.h"

namespace tenon {

std::vector<ValueType> infer_types(const Slice& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights) {
  shape_rule::counts(op.kName, inputs, 1, weights, 0);
  const std::int64_t width = shape_rule::float_matrix(op.kName, "x", inputs[0]);
  TENON_CHECK(0 <= op.begin && op.begin < op.end && op.end <= width, ErrorCode::kCorrupt,
              "[slice] columns [{}, {}) of x {}, expected some within its {} columns", op.begin,
              op.end, to_string(inputs[0]), width);
  return {ValueType::tensor(inputs[0].dtype, {inputs[0].shape[0], op.end - op.begin})};
}

}  // namespace tenon
