// GatedActivation: act(gate) * up (Shazeer, 2020, "GLU variants improve Transformer").
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ops/op_common.h"

namespace tenon {

struct GatedActivation {
  static constexpr const char* kName = "gated_activation";
  ActivationKind kind = ActivationKind::kSilu;

  /// inputs: gate, up of one type; output: as gate.
  static auto fields() { return std::tuple(field("kind", &GatedActivation::kind)); }
};

std::vector<ValueType> infer_types(const GatedActivation& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights);

}  // namespace tenon
