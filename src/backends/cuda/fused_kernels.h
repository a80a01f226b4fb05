// Kernels of fused ops, and of norms, that take one launch: factories for the kernel lists.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cuda/cuda_kernel.h"

namespace tenon::cuda {

/// Norm and AddNorm with a row in registers: read once, written once.
std::string reject_row_norm(const Norm& op, const NodeView& node, const DeviceFeatures& features);
std::string reject_row_norm(const AddNorm& op, const NodeView& node,
                            const DeviceFeatures& features);
std::unique_ptr<CudaKernel> make_row_norm(const Norm& op, const NodeView& node, Weights weights,
                                          LoadContext& load);
std::unique_ptr<CudaKernel> make_row_norm(const AddNorm& op, const NodeView& node, Weights weights,
                                          LoadContext& load);

/// Queries, keys and values of all tokens in one launch: a warp a head.
std::unique_ptr<CudaKernel> make_fused(const RopeCacheWrite& op, const NodeView& node,
                                       Weights weights, LoadContext& load);

}  // namespace tenon::cuda
