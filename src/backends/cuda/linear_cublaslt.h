// Linear and GatedLinear of plain weights through cuBLASLt: all weights of a node packed as one
// matrix, a product a segment.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cuda/cuda_kernel.h"

namespace tenon::cuda {

/// Element type of the node's matrices and of x as stored: float32, float16 or bfloat16.
template <class OpT>
std::string reject_cublaslt(const OpT& op, const NodeView& node, const DeviceFeatures& features,
                            DataType type);
template <class OpT>
std::vector<PackedNeed> cublaslt_needs(const OpT& op, const NodeView& node);
template <class OpT>
std::unique_ptr<CudaKernel> make_cublaslt(const OpT& op, const NodeView& node, Weights weights,
                                          LoadContext& load);
/// The node's first `count` matrices of plain elements, joined by rows: one copy for all that read
/// them so.
PackedNeed joined_need(const NodeView& node, std::size_t count);
const std::byte* load_joined(const NodeView& node, const Weights& weights, std::size_t count,
                             LoadContext& load);

/// GatedLinear: gate and up of all rows, before the activation.
std::int64_t cublaslt_workspace(const GatedLinear& op, const NodeView& node,
                                const StepSizes& limits);

}  // namespace tenon::cuda
