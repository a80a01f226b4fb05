// GatedLinear (fused): act(x G^T + g) * (x U^T + u). Equals Linear with two segments (or two of
// one), then GatedActivation.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ops/op_common.h"

namespace tenon {

struct GatedLinear {
  static constexpr const char* kName = "gated_linear";
  ActivationKind kind = ActivationKind::kSilu;
  bool has_bias = false;

  /// inputs: x [rows, in]; weights: gate, up [out, in], then, where has_bias, their [out] vectors;
  /// output: [rows, out].
  static auto fields() {
    return std::tuple(field("kind", &GatedLinear::kind), field("has_bias", &GatedLinear::has_bias));
  }
};

std::vector<ValueType> infer_types(const GatedLinear& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights);

}  // namespace tenon
