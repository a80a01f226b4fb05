// SPDX-License-Identifier: Apache-2.0
#include "ops/all_gather.h"

#include <algorithm>

#include "ops/shape_rule.h"

namespace tenon {

std::vector<ValueType> infer_types(const AllGather& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights) {
  shape_rule::counts(op.kName, inputs, 1, weights, 0);
  const std::int64_t width = shape_rule::float_matrix(op.kName, "x", inputs[0]);
  std::int64_t sum = 0;
  for (const std::int64_t one : op.widths)
    sum += shape_rule::in_range(op.kName, "width", one, 1, std::int64_t{1} << 40);
  shape_rule::in_range(op.kName, "the sum of widths", sum, 1, std::int64_t{1} << 40);
  // The rule does not know its rank: x must be the share of one of them.
  TENON_CHECK(std::ranges::find(op.widths, width) != op.widths.end(), ErrorCode::kCorrupt,
              "[all_gather] x is {}, expected the columns of one rank: {}", to_string(inputs[0]),
              to_string(op.widths));
  return {ValueType::tensor(inputs[0].dtype, {inputs[0].shape[0], sum})};
}

}  // namespace tenon
