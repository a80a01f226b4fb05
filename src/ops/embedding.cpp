// SPDX-License-Identifier: Apache-2.0
#include "ops/embedding.h"

#include "ops/shape_rule.h"

namespace tenon {

std::vector<ValueType> infer_types(const Embedding& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights) {
  shape_rule::counts(op.kName, inputs, 1, weights, 1);
  shape_rule::index_vector(op.kName, "ids", inputs[0]);
  shape_rule::in_range(op.kName, "row_begin", op.row_begin, 0, std::int64_t{1} << 31);
  const Shape& table = weights[0];
  TENON_CHECK(table.size() == 2 && table[0] > 0 && table[1] > 0, ErrorCode::kCorrupt,
              "[embedding] weight table is {}, expected [rows, width]", to_string(table));
  return {ValueType::tensor(DataType::kFloat32, {inputs[0].shape[0], table[1]})};
}

}  // namespace tenon
