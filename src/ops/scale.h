// Scale: x * factor.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ops/op_common.h"

namespace tenon {

struct Scale {
  static constexpr const char* kName = "scale";
  float factor = 1.F;
  static auto fields() { return std::tuple(field("factor", &Scale::factor)); }
};

std::vector<ValueType> infer_types(const Scale& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights);

}  // namespace tenon
