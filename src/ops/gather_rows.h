// GatherRows: the rows of x that an index names (the rows whose logits are wanted).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ops/op_common.h"

namespace tenon {

struct GatherRows {
  static constexpr const char* kName = "gather_rows";
  /// inputs: x [T, width], rows int32 [L]; output: [L, width].
  static auto fields() { return std::tuple<>(); }
};

std::vector<ValueType> infer_types(const GatherRows& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights);

}  // namespace tenon
