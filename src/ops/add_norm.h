// AddNorm (fused): sum = a + b, normed = norm(sum). Equals Add, then Norm.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ops/op_common.h"

namespace tenon {

struct AddNorm {
  static constexpr const char* kName = "add_norm";
  NormKind kind = NormKind::kRms;
  float eps = 1e-5F;
  float weight_offset = 0.F;
  bool has_bias = false;

  /// inputs: a, b [rows, width]; weights: as Norm; outputs: sum, normed.
  static auto fields() {
    return std::tuple(field("kind", &AddNorm::kind), field("eps", &AddNorm::eps),
                      field("weight_offset", &AddNorm::weight_offset),
                      field("has_bias", &AddNorm::has_bias));
  }
};

std::vector<ValueType> infer_types(const AddNorm& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights);

}  // namespace tenon
