// Rope's frequencies on the device, for every kernel that rotates.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cuda/device/rope_angles.h"
#include "backends/cuda/device_weight.h"
#include "ops/rope.h"

namespace tenon::cuda {

inline std::vector<PackedNeed> rope_needs(const Rope& op) {
  std::vector<PackedNeed> needs = {constant_need(op.inv_freq)};
  if (!op.long_inv_freq.empty()) needs.push_back(constant_need(op.long_inv_freq));
  return needs;
}

inline RopeFrequencies upload_rope(const Rope& op, LoadContext& load) {
  RopeFrequencies out;
  out.inv_freq = upload_constant(op.inv_freq, load);
  if (!op.long_inv_freq.empty()) out.long_inv_freq = upload_constant(op.long_inv_freq, load);
  out.original_length = op.original_length;
  out.rotary_dim = static_cast<std::int32_t>(op.rotary_dim);
  out.length = op.length;
  out.style = op.style;
  out.base = op.base;
  out.dynamic_factor = op.dynamic_factor;
  out.amplitude = op.amplitude;
  out.long_amplitude = op.long_amplitude;
  return out;
}

}  // namespace tenon::cuda
