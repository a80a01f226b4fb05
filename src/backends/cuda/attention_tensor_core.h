// Attention over a cache in 16 or 8 bits on tensor cores: which nodes it serves, and its three
// forms.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cuda/cuda_kernel.h"

namespace tenon::cuda {

/// Decodes by split keys, context with Hopper's warpgroup products.
std::string reject_attention_hopper(const Attention&, const NodeView&, const DeviceFeatures&);
std::unique_ptr<CudaKernel> make_attention_hopper(const Attention&, const NodeView&, Weights,
                                                  LoadContext&);
/// Decodes by split keys, context with warp-level products.
std::string reject_attention_mma(const Attention&, const NodeView&, const DeviceFeatures&);
std::unique_ptr<CudaKernel> make_attention_mma(const Attention&, const NodeView&, Weights,
                                               LoadContext&);
/// The same code for decodes and context: a row gets the same sums in a chunk of any size.
std::string reject_attention_mma_rows(const Attention&, const NodeView&, const DeviceFeatures&);
std::unique_ptr<CudaKernel> make_attention_mma_rows(const Attention&, const NodeView&, Weights,
                                                    LoadContext&);

/// Of the two forms with split keys.
std::vector<PackedNeed> attention_split_needs(const Attention& op, const NodeView& node);
std::int64_t attention_split_workspace(const Attention& op, const NodeView& node,
                                       const StepSizes& limits);

}  // namespace tenon::cuda
