// Activation: a function of each element.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ops/op_common.h"

namespace tenon {

struct Activation {
  static constexpr const char* kName = "activation";
  ActivationKind kind = ActivationKind::kSilu;

  /// inputs: x; output: as x.
  static auto fields() { return std::tuple(field("kind", &Activation::kind)); }
};

std::vector<ValueType> infer_types(const Activation& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights);

}  // namespace tenon
