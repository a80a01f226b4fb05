// SPDX-License-Identifier: Apache-2.0
#include "ops/send.h"

#include "ops/shape_rule.h"

namespace tenon {

std::vector<ValueType> infer_types(const Send& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights) {
  shape_rule::counts(op.kName, inputs, 1, weights, 0);
  shape_rule::in_range(op.kName, "peer", op.peer, 0);
  shape_rule::float_matrix(op.kName, "x", inputs[0]);
  return {};
}

}  // namespace tenon
