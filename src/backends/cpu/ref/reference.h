// The fp32 references: one naive implementation of each op, its specification. They end every
// kernel list and are what all other kernels are tested against.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backends/cpu/cpu_kernel.h"

namespace tenon::cpu {

/// Common form of the make functions: `weights` in the node's order.
template <class OpT>
using MakeKernel = std::unique_ptr<CpuKernel> (*)(const OpT&, const NodeView&,
                                                  std::vector<QuantizedTensor>, ThreadPool&);

// One overload an op; each is in the file of its stem.
using Weights = std::vector<QuantizedTensor>;
std::unique_ptr<CpuKernel> make_reference(const Norm&, const NodeView&, Weights, ThreadPool&);
std::unique_ptr<CpuKernel> make_reference(const Activation&, const NodeView&, Weights, ThreadPool&);
std::unique_ptr<CpuKernel> make_reference(const GatedActivation&, const NodeView&, Weights,
                                          ThreadPool&);
std::unique_ptr<CpuKernel> make_reference(const Add&, const NodeView&, Weights, ThreadPool&);
std::unique_ptr<CpuKernel> make_reference(const Mul&, const NodeView&, Weights, ThreadPool&);
std::unique_ptr<CpuKernel> make_reference(const Scale&, const NodeView&, Weights, ThreadPool&);
std::unique_ptr<CpuKernel> make_reference(const Softcap&, const NodeView&, Weights, ThreadPool&);
std::unique_ptr<CpuKernel> make_reference(const Concat&, const NodeView&, Weights, ThreadPool&);
std::unique_ptr<CpuKernel> make_reference(const Slice&, const NodeView&, Weights, ThreadPool&);
std::unique_ptr<CpuKernel> make_reference(const Cast&, const NodeView&, Weights, ThreadPool&);
std::unique_ptr<CpuKernel> make_reference(const GatherRows&, const NodeView&, Weights, ThreadPool&);
std::unique_ptr<CpuKernel> make_reference(const Rope&, const NodeView&, Weights, ThreadPool&);
std::unique_ptr<CpuKernel> make_reference(const CacheWrite&, const NodeView&, Weights, ThreadPool&);
std::unique_ptr<CpuKernel> make_reference(const Attention&, const NodeView&, Weights, ThreadPool&);
std::unique_ptr<CpuKernel> make_reference(const AllReduce&, const NodeView&, Weights, ThreadPool&);
std::unique_ptr<CpuKernel> make_reference(const AllGather&, const NodeView&, Weights, ThreadPool&);
std::unique_ptr<CpuKernel> make_reference(const Send&, const NodeView&, Weights, ThreadPool&);
std::unique_ptr<CpuKernel> make_reference(const Receive&, const NodeView&, Weights, ThreadPool&);
std::unique_ptr<CpuKernel> make_reference(const AddNorm&, const NodeView&, Weights, ThreadPool&);
std::unique_ptr<CpuKernel> make_reference(const RopeCacheWrite&, const NodeView&, Weights,
                                          ThreadPool&);

/// Reject functions: values of any type; float32 (and int32 indices) alone.
template <class OpT>
std::string accept_all(const OpT&, const NodeView&, const CpuFeatures&) {
  return {};
}
std::string reject_not_float32(const NodeView& node);
template <class OpT>
std::string accept_float32(const OpT&, const NodeView& node, const CpuFeatures&) {
  return reject_not_float32(node);
}

/// Bytes of a node's weights once they are fp32 vectors of the kernel.
template <class OpT>
std::int64_t float_weight_bytes(const OpT&, const NodeView& node) {
  std::int64_t total = 0;
  for (const WeightUse& weight : node.weights)
    total += byte_count(DataType::kFloat32, weight.shape, weight.name);
  return total;
}

/// A small weight (gain, bias, table) as fp32 elements.
std::vector<float> to_floats(const QuantizedTensor& weight);

/// One value of an activation function.
float activate(ActivationKind kind, float x);

}  // namespace tenon::cpu
