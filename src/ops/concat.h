// Concat: values joined along their last dimension.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ops/op_common.h"

namespace tenon {

struct Concat {
  static constexpr const char* kName = "concat";
  /// inputs: [rows, width_i] each; output: [rows, sum of widths].
  static auto fields() { return std::tuple<>(); }
};

std::vector<ValueType> infer_types(const Concat& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights);

}  // namespace tenon
