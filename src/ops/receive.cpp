// SPDX-License-Identifier: Apache-2.0
#include "ops/receive.h"

#include "ops/shape_rule.h"

namespace tenon {

std::vector<ValueType> infer_types(const Receive& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights) {
  shape_rule::counts(op.kName, inputs, 0, weights, 0);
  shape_rule::in_range(op.kName, "peer", op.peer, 0);
  shape_rule::in_range(op.kName, "width", op.width, 1, std::int64_t{1} << 40);
  TENON_CHECK(op.rows != Symbol::kNone, ErrorCode::kCorrupt,
              "[receive] rows is none, expected a symbolic size such as tokens");
  const ValueType output = ValueType::tensor(op.dtype, {op.rows, op.width});
  shape_rule::float_matrix(op.kName, "the output", output);
  return {output};
}

}  // namespace tenon
