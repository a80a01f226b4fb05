// The small tables of Attention (alibi slopes, relative bias by distance) on the device.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cuda/cuda_kernel.h"
#include "backends/cuda/device/key_rows.h"

namespace tenon::cuda {

std::vector<PackedNeed> attention_needs(const Attention& op, const NodeView& node);

/// All but `layer`, which the step gives (StepContext::cache).
AttentionArguments upload_attention(const Attention& op, const NodeView& node,
                                    const Weights& weights, LoadContext& load);

}  // namespace tenon::cuda
