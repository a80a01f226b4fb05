// Norm: RMSNorm (Zhang and Sennrich, 2019), LayerNorm (Ba et al., 2016), GroupNorm (Wu and He,
// 2018) over the last dimension, in fp32.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ops/op_common.h"

namespace tenon {

struct Norm {
  static constexpr const char* kName = "norm";
  NormKind kind = NormKind::kRms;
  float eps = 1e-5F;
  std::int64_t groups = 1;    ///< kGroup: runs of width / groups features, each normalised alone
  float weight_offset = 0.F;  ///< added to the gain (1 in Gemma's files)
  bool has_bias = false;

  /// inputs: x [rows, width]; weights: gain [width], then bias [width]; output: as x.
  static auto fields() {
    return std::tuple(field("kind", &Norm::kind), field("eps", &Norm::eps),
                      field("groups", &Norm::groups), field("weight_offset", &Norm::weight_offset),
                      field("has_bias", &Norm::has_bias));
  }
};

std::vector<ValueType> infer_types(const Norm& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights);

}  // namespace tenon
