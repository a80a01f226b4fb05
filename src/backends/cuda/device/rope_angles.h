// Angles of rotary position embedding, as backends/cpu/rope_tables.cpp computes them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "ops/op_common.h"

namespace tenon::cuda {

/// Of one Rope op, on the device.
struct RopeFrequencies {
  const float* inv_freq = nullptr;       ///< [rotary_dim / 2]
  const float* long_inv_freq = nullptr;  ///< kSwitch
  std::int64_t original_length = 0;
  std::int32_t rotary_dim = 0;
  RopeLength length = RopeLength::kFixed;
  RopeStyle style = RopeStyle::kNeox;
  float base = 10000.F;
  float dynamic_factor = 1.F;
  float amplitude = 1.F;
  float long_amplitude = 1.F;
};

struct Angle {  // no defaults: it stands in shared memory
  float cosine;
  float sine;
};

#ifdef __CUDACC__

/// Pair `i`, whose inv_freq is `frequency`, of a token at `position`, in a sequence of
/// `sequence_length` tokens.
__device__ inline Angle rope_angle(const RopeFrequencies& rope, std::int32_t i, float frequency,
                                   std::int32_t position, std::int32_t sequence_length) {
  float amplitude = rope.amplitude;
  if (rope.length != RopeLength::kFixed && sequence_length > rope.original_length) {
    if (rope.length == RopeLength::kSwitch) {
      frequency = rope.long_inv_freq[i];
      amplitude = rope.long_amplitude;
    } else {
      const double dim = rope.rotary_dim;
      const double factor = rope.dynamic_factor;
      const double stretch =
          factor * sequence_length / static_cast<double>(rope.original_length) - (factor - 1.0);
      const double base = static_cast<double>(rope.base) * pow(stretch, dim / (dim - 2.0));
      frequency = static_cast<float>(1.0 / pow(base, 2.0 * i / dim));
    }
  }
  // One fp32 product, as the models were trained: its rounding matters at long contexts.
  const float angle = __fmul_rn(static_cast<float>(position), frequency);
  return {cosf(angle) * amplitude, sinf(angle) * amplitude};
}

/// The two features of a head that pair `i` rotates.
__device__ inline std::int32_t first_of_pair(const RopeFrequencies& rope, std::int32_t i) {
  return rope.style == RopeStyle::kNeox ? i : 2 * i;
}
__device__ inline std::int32_t second_of_pair(const RopeFrequencies& rope, std::int32_t i) {
  return rope.style == RopeStyle::kNeox ? i + rope.rotary_dim / 2 : 2 * i + 1;
}

#endif  // __CUDACC__

}  // namespace tenon::cuda
