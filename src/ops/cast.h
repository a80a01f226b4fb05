// Cast: the same numbers in another element type, rounded to nearest even.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ops/op_common.h"

namespace tenon {

struct Cast {
  static constexpr const char* kName = "cast";
  DataType to = DataType::kFloat32;
  static auto fields() { return std::tuple(field("to", &Cast::to)); }
};

std::vector<ValueType> infer_types(const Cast& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights);

}  // namespace tenon
