// SPDX-License-Identifier: Apache-2.0
#include "ops/gather_rows.h"

#include "ops/shape_rule.h"

namespace tenon {

std::vector<ValueType> infer_types(const GatherRows& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights) {
  shape_rule::counts(op.kName, inputs, 2, weights, 0);
  const std::int64_t width = shape_rule::float_matrix(op.kName, "x", inputs[0]);
  shape_rule::index_vector(op.kName, "rows", inputs[1]);
  return {ValueType::tensor(inputs[0].dtype, {inputs[1].shape[0], width})};
}

}  // namespace tenon
