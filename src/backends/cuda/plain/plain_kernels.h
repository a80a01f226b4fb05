// The plain kernels: one an op, simple and general, for every form that the CPU serves. They end
// each kernel list, accept values stored in any floating-point kind, accumulate in fp32 and are
// row-invariant.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cuda/cuda_kernel.h"

namespace tenon::cuda {

template <class OpT>
std::string accept_all(const OpT&, const NodeView&, const DeviceFeatures&) {
  return {};
}

// One overload an op; each is in the file of its stem or its kind.
std::unique_ptr<CudaKernel> make_plain(const Embedding&, const NodeView&, Weights, LoadContext&);
std::unique_ptr<CudaKernel> make_plain(const Linear&, const NodeView&, Weights, LoadContext&);
std::unique_ptr<CudaKernel> make_plain(const GatedLinear&, const NodeView&, Weights, LoadContext&);
std::unique_ptr<CudaKernel> make_plain(const Norm&, const NodeView&, Weights, LoadContext&);
std::unique_ptr<CudaKernel> make_plain(const AddNorm&, const NodeView&, Weights, LoadContext&);
std::unique_ptr<CudaKernel> make_plain(const Activation&, const NodeView&, Weights, LoadContext&);
std::unique_ptr<CudaKernel> make_plain(const GatedActivation&, const NodeView&, Weights,
                                       LoadContext&);
std::unique_ptr<CudaKernel> make_plain(const Add&, const NodeView&, Weights, LoadContext&);
std::unique_ptr<CudaKernel> make_plain(const Mul&, const NodeView&, Weights, LoadContext&);
std::unique_ptr<CudaKernel> make_plain(const Scale&, const NodeView&, Weights, LoadContext&);
std::unique_ptr<CudaKernel> make_plain(const Softcap&, const NodeView&, Weights, LoadContext&);
std::unique_ptr<CudaKernel> make_plain(const Cast&, const NodeView&, Weights, LoadContext&);
std::unique_ptr<CudaKernel> make_plain(const Concat&, const NodeView&, Weights, LoadContext&);
std::unique_ptr<CudaKernel> make_plain(const Slice&, const NodeView&, Weights, LoadContext&);
std::unique_ptr<CudaKernel> make_plain(const GatherRows&, const NodeView&, Weights, LoadContext&);
std::unique_ptr<CudaKernel> make_plain(const Rope&, const NodeView&, Weights, LoadContext&);
std::unique_ptr<CudaKernel> make_plain(const CacheWrite&, const NodeView&, Weights, LoadContext&);
std::unique_ptr<CudaKernel> make_plain(const RopeCacheWrite&, const NodeView&, Weights,
                                       LoadContext&);
std::unique_ptr<CudaKernel> make_plain(const Attention&, const NodeView&, Weights, LoadContext&);
std::unique_ptr<CudaKernel> make_plain(const AllReduce&, const NodeView&, Weights, LoadContext&);
std::unique_ptr<CudaKernel> make_plain(const AllGather&, const NodeView&, Weights, LoadContext&);
std::unique_ptr<CudaKernel> make_plain(const Send&, const NodeView&, Weights, LoadContext&);
std::unique_ptr<CudaKernel> make_plain(const Receive&, const NodeView&, Weights, LoadContext&);

}  // namespace tenon::cuda
