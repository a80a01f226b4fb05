// SPDX-License-Identifier: Apache-2.0
#include "ops/rope.h"

#include "ops/shape_rule.h"

namespace tenon {
namespace {

void check_frequencies(const char* name, const std::vector<float>& values, std::int64_t expected) {
  TENON_CHECK(static_cast<std::int64_t>(values.size()) == expected, ErrorCode::kCorrupt,
              "[rope] {} has {} values, expected {}", name, values.size(), expected);
  for (const float value : values) shape_rule::finite(Rope::kName, name, value);
}

}  // namespace

std::vector<ValueType> infer_types(const Rope& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights) {
  shape_rule::counts(op.kName, inputs, 2, weights, 0);
  shape_rule::in_range(op.kName, "heads", op.heads, 1);
  shape_rule::in_range(op.kName, "head_dim", op.head_dim, 2);
  shape_rule::in_range(op.kName, "rotary_dim", op.rotary_dim, 2, op.head_dim);
  TENON_CHECK(op.rotary_dim % 2 == 0, ErrorCode::kCorrupt,
              "[rope] rotary_dim is {}, expected an even number", op.rotary_dim);
  check_frequencies("inv_freq", op.inv_freq, op.rotary_dim / 2);
  check_frequencies("long_inv_freq", op.long_inv_freq,
                    op.length == RopeLength::kSwitch ? op.rotary_dim / 2 : 0);
  if (op.length != RopeLength::kFixed)
    shape_rule::in_range(op.kName, "original_length", op.original_length, 1, std::int64_t{1} << 40);
  shape_rule::positive(op.kName, "base", op.base);
  shape_rule::positive(op.kName, "dynamic_factor", op.dynamic_factor);
  shape_rule::finite(op.kName, "amplitude", op.amplitude);
  shape_rule::finite(op.kName, "long_amplitude", op.long_amplitude);
  shape_rule::float_columns(op.kName, "x", inputs[0], op.heads * op.head_dim);
  shape_rule::index_vector(op.kName, "positions", inputs[1]);
  shape_rule::same_rows(op.kName, "x", inputs[0], "positions", inputs[1]);
  return {inputs[0]};
}

}  // namespace tenon
