// Inverse frequencies and amplitude of rotary embeddings for every kind of scaling, in the float32
// arithmetic that models were trained with.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "ops/rope.h"
#include "tenon/config.h"

namespace tenon {

struct RopeSettings {
  double base = 10000.0;
  std::int64_t rotary_dim = 0;               ///< rotated features of a head, even
  std::int64_t max_position_embeddings = 0;  ///< stands in for a missing original length
  RopeScaling scaling = {};
};

struct RopeFrequencies {
  std::vector<float> inv_freq;  ///< [rotary_dim / 2], radians per position
  float amplitude = 1.F;        ///< multiplies sine and cosine
};

/// Frequencies for a sequence of `length` tokens; only "dynamic" and "longrope" look at it. 0:
/// within the original length.
RopeFrequencies rope_frequencies(const RopeSettings& settings, std::int64_t length = 0);

/// The op for `heads` heads of `head_dim` features.
Rope rope_op(const RopeSettings& settings, std::int64_t heads, std::int64_t head_dim,
             RopeStyle style);

}  // namespace tenon
