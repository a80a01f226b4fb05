// SPDX-License-Identifier: Apache-2.0
#include "ops/mul.h"

#include "ops/shape_rule.h"

namespace tenon {

std::vector<ValueType> infer_types(const Mul& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights) {
  shape_rule::counts(op.kName, inputs, 2, weights, 0);
  shape_rule::float_tensor(op.kName, "a", inputs[0]);
  shape_rule::same_type(op.kName, "a", inputs[0], "b", inputs[1]);
  return {inputs[0]};
}

}  // namespace tenon
