// SPDX-License-Identifier: Apache-2.0
#include "ops/cast.h"

#include "ops/shape_rule.h"

namespace tenon {

std::vector<ValueType> infer_types(const Cast& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights) {
  shape_rule::counts(op.kName, inputs, 1, weights, 0);
  shape_rule::float_tensor(op.kName, "x", inputs[0]);
  const ValueType output = ValueType::tensor(op.to, inputs[0].shape);
  shape_rule::float_tensor(op.kName, "the output", output);
  return {output};
}

}  // namespace tenon
