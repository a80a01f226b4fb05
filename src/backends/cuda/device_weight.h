// Weights on the device in the layouts that need no repacking: the canonical form as the files have
// it, and small vectors (gains, biases, tables) as fp32.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "backends/cuda/device/quantized_weight.h"
#include "backends/cuda/load_context.h"

namespace tenon::cuda {

/// The part as the reader gives it, all its tensors.
PackedNeed canonical_need(const WeightUse& use);
QuantizedWeight upload_canonical(const WeightUse& use, const QuantizedTensor& weight,
                                 LoadContext& load);

/// Elements as fp32, each plus `offset`.
PackedNeed float_need(const WeightUse& use, float offset = 0.F);
const float* upload_floats(const WeightUse& use, const QuantizedTensor& weight, LoadContext& load,
                           float offset = 0.F);

/// Numbers that are no weight (inverse frequencies). The key comes from the content.
PackedNeed constant_need(std::span<const float> values);
const float* upload_constant(std::span<const float> values, LoadContext& load);

}  // namespace tenon::cuda
