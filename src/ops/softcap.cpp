// SPDX-License-Identifier: Apache-2.0
#include "ops/softcap.h"

#include "ops/shape_rule.h"

namespace tenon {

std::vector<ValueType> infer_types(const Softcap& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights) {
  shape_rule::counts(op.kName, inputs, 1, weights, 0);
  shape_rule::float_tensor(op.kName, "x", inputs[0]);
  shape_rule::positive(op.kName, "cap", op.cap);
  return {inputs[0]};
}

}  // namespace tenon
