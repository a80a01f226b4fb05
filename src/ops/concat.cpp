// SPDX-License-Identifier: Apache-2.0
#include "ops/concat.h"

#include "ops/shape_rule.h"

namespace tenon {

std::vector<ValueType> infer_types(const Concat& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights) {
  TENON_CHECK(!inputs.empty(), ErrorCode::kCorrupt, "[concat] has no inputs, expected some");
  shape_rule::counts(op.kName, inputs, inputs.size(), weights, 0);
  std::int64_t width = 0;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const std::string what = fmt::format("input {}", i);
    width += shape_rule::float_matrix(op.kName, what, inputs[i]);
    shape_rule::in_range(op.kName, "width", width, 1, std::int64_t{1} << 40);
    shape_rule::same_rows(op.kName, "input 0", inputs[0], what, inputs[i]);
    TENON_CHECK(inputs[i].dtype == inputs[0].dtype, ErrorCode::kCorrupt,
                "[concat] input 0 is {} but {} is {}, expected one element type",
                to_string(inputs[0]), what, to_string(inputs[i]));
  }
  return {ValueType::tensor(inputs[0].dtype, {inputs[0].shape[0], width})};
}

}  // namespace tenon
