// Add: the sum of two values of one type.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ops/op_common.h"

namespace tenon {

struct Add {
  static constexpr const char* kName = "add";
  static auto fields() { return std::tuple<>(); }
};

std::vector<ValueType> infer_types(const Add& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights);

}  // namespace tenon
