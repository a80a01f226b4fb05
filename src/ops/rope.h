// Rope: rotary position embedding (Su et al., 2021) on the first rotary_dim features of each head.
// Scaling kinds that do not depend on the length are folded into inv_freq by the layer.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ops/op_common.h"

namespace tenon {

struct Rope {
  static constexpr const char* kName = "rope";
  std::int64_t heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t rotary_dim = 0;  ///< even, at most head_dim
  RopeStyle style = RopeStyle::kNeox;
  RopeLength length = RopeLength::kFixed;
  std::vector<float> inv_freq;       ///< [rotary_dim / 2], radians per position
  std::vector<float> long_inv_freq;  ///< kSwitch: for sequences beyond original_length
  std::int64_t original_length = 0;  ///< kSwitch, kDynamic
  float base = 10000.F;              ///< kDynamic
  float dynamic_factor = 1.F;        ///< kDynamic
  float amplitude = 1.F;             ///< multiplies sine and cosine (yarn, longrope)
  float long_amplitude = 1.F;        ///< kSwitch: beyond original_length

  /// inputs: x [T, heads * head_dim], positions int32 [T]; output: as x. The length that kSwitch
  /// and kDynamic look at is that of the token's whole sequence (Batch::sequence_length).
  static auto fields() {
    return std::tuple(field("heads", &Rope::heads), field("head_dim", &Rope::head_dim),
                      field("rotary_dim", &Rope::rotary_dim), field("style", &Rope::style),
                      field("length", &Rope::length), field("inv_freq", &Rope::inv_freq),
                      field("long_inv_freq", &Rope::long_inv_freq),
                      field("original_length", &Rope::original_length), field("base", &Rope::base),
                      field("dynamic_factor", &Rope::dynamic_factor),
                      field("amplitude", &Rope::amplitude),
                      field("long_amplitude", &Rope::long_amplitude));
  }
};

std::vector<ValueType> infer_types(const Rope& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights);

}  // namespace tenon
