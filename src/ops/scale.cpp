// SPDX-License-Identifier: Apache-2.0
#include "ops/scale.h"

#include "ops/shape_rule.h"

namespace tenon {

std::vector<ValueType> infer_types(const Scale& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights) {
  shape_rule::counts(op.kName, inputs, 1, weights, 0);
  shape_rule::float_tensor(op.kName, "x", inputs[0]);
  shape_rule::finite(op.kName, "factor", op.factor);
  return {inputs[0]};
}

}  // namespace tenon
