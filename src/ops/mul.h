// Mul: the product, element by element, of two values of one type.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ops/op_common.h"

namespace tenon {

struct Mul {
  static constexpr const char* kName = "mul";
  static auto fields() { return std::tuple<>(); }
};

std::vector<ValueType> infer_types(const Mul& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights);

}  // namespace tenon
