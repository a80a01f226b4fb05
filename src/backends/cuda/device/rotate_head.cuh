// One head of one token: rotated, and written to the cache.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cuda/device/cache_layer.h"
#include "backends/cuda/device/element.h"
#include "backends/cuda/device/reduce.h"
#include "backends/cuda/device/rope_angles.h"
#include "backends/cuda/device/step_view.h"

namespace tenon::cuda {

__device__ inline std::int32_t length_of(const StepView& view, std::int32_t sequence) {
  return sequence < 0 ? 0 : view.sequence_length[sequence];
}

/// A feature of a rotated pair: the first has minus the second as its `other`, the second the
/// first. Rounded the same way wherever it stands.
__device__ inline float rotated(float self, float other, const Angle& angle) {
  return __fmaf_rn(self, angle.cosine, __fmul_rn(other, angle.sine));
}

/// Feature d of a rotated head that begins at element `head`.
__device__ inline float rotated(const void* x, DataType type, std::int64_t head, std::int32_t d,
                                const RopeFrequencies& rope, const Angle* angles) {
  const float self = load(x, type, head + d);
  if (d >= rope.rotary_dim) return self;
  const std::int32_t half = rope.rotary_dim / 2;
  const bool neox = rope.style == RopeStyle::kNeox;
  const std::int32_t pair = neox ? d % half : d / 2;
  const bool is_first = neox ? d < half : d % 2 == 0;
  if (is_first)
    return rotated(self, -load(x, type, head + second_of_pair(rope, pair)), angles[pair]);
  return rotated(self, load(x, type, head + first_of_pair(rope, pair)), angles[pair]);
}

__device__ inline void fill_angles(const RopeFrequencies& rope, std::int32_t position,
                                   std::int32_t length, Angle* angles) {
  for (std::int32_t i = threadIdx.x; i < rope.rotary_dim / 2; i += blockDim.x)
    angles[i] = rope_angle(rope, i, rope.inv_freq[i], position, length);
  __syncthreads();
}

/// Writes one head's vector, by a warp. int8: one scale, symmetric.
template <class Value>
__device__ inline void write_head(const CacheLayer& layer, void* data, float* scales,
                                  std::int64_t row, Value value) {
  const int lane = threadIdx.x % 32;
  const std::int64_t first = row * layer.head_dim;
  if (layer.dtype != DataType::kInt8) {
    for (std::int32_t d = lane; d < layer.head_dim; d += 32)
      store(data, layer.dtype, first + d, value(d));
    return;
  }
  float largest = 0.F;
  for (std::int32_t d = lane; d < layer.head_dim; d += 32)
    largest = fmaxf(largest, fabsf(value(d)));
  largest = warp_max(largest);
  const float inverse = largest > 0.F ? 127.F / largest : 0.F;
  for (std::int32_t d = lane; d < layer.head_dim; d += 32)
    static_cast<std::int8_t*>(data)[first + d] =
        static_cast<std::int8_t>(__float2int_rn(value(d) * inverse));
  if (lane == 0) scales[row] = largest / 127.F;
}

}  // namespace tenon::cuda
