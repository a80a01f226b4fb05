// Softcap: cap * tanh(x / cap).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ops/op_common.h"

namespace tenon {

struct Softcap {
  static constexpr const char* kName = "softcap";
  float cap = 30.F;
  static auto fields() { return std::tuple(field("cap", &Softcap::cap)); }
};

std::vector<ValueType> infer_types(const Softcap& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights);

}  // namespace tenon
