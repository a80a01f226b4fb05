// CudaKernel: one node of a CUDA program, with its packed weights; and the ordered lists from which
// nodes get theirs. A list names kernels best first and ends with the plain one.
//
// To add a kernel: a .cu file of its own (device-only headers in device/), a factory, and an entry
// in the op's kernel_list_*.cpp above those it beats.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "backends/cuda/cuda_features.h"
#include "backends/cuda/device/step_view.h"
#include "backends/cuda/load_context.h"
#include "backends/cuda/paged_cache.h"

namespace tenon::cuda {

class CublasLt;  // cublaslt.h

/// A value during a step: dense rows in device memory. `rows` is the product of all extents but the
/// last, as launched (padding included). `dtype` is how it is stored, see storage.h.
struct TensorRef {
  std::byte* data = nullptr;
  DataType dtype = DataType::kFloat32;
  std::int64_t rows = 0;
  std::int64_t width = 0;
  std::int64_t elements() const { return rows * width; }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data);
  }
};

/// What kernels see of the step. Launches must depend on nothing of the step but this, and on
/// `sizes` and the counts below only as upper bounds (a recorded launch is replayed with fewer):
/// what a step really has is read on the device, from `view`.
struct StepContext {
  cudaStream_t stream = nullptr;
  StepView view;
  StepSizes sizes;  ///< rows that are launched: the step's, or those of its bucket
  /// Sequences [0, decodes) have at most one token each: token s is sequence s's. The others have
  /// chunks of context.
  std::int64_t decodes = 0;
  std::int64_t longest_chunk = 1;    ///< tokens that one sequence has in the step, at most
  std::int64_t longest_context = 0;  ///< cached and new tokens of any sequence, at most
  const PagedCache* cache = nullptr;
  Communicator* communicator = nullptr;
  std::byte* workspace = nullptr;  ///< shared by all nodes, kDeviceAlignment-aligned
  std::int64_t workspace_bytes = 0;
  const DeviceFeatures* features = nullptr;
  CublasLt* cublaslt = nullptr;  ///< null where it was not found
};

class CudaKernel {
 public:
  virtual ~CudaKernel() = default;
  /// Queues the work on step.stream. Allocates nothing, waits for nothing (but see
  /// KernelEntry::recordable).
  virtual void launch(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
                      const StepContext& step) const = 0;
  /// Bytes of StepContext::workspace needed at the largest step.
  virtual std::int64_t workspace_bytes(const StepSizes& limits) const {
    (void)limits;
    return 0;
  }
};

/// A node as a kernel list sees it. Types of values are those they are stored in.
struct NodeView {
  std::vector<ValueType> inputs;
  std::vector<ValueType> outputs;
  std::vector<WeightUse> weights;
  CacheGroupDescription cache;  ///< that the node reads; blocks 0 where it reads none
};

using Weights = std::vector<QuantizedTensor>;

template <class OpT>
struct KernelEntry {
  const char* name;                          ///< "linear_cublaslt_bf16"
  DataType activation = DataType::kFloat32;  ///< precision its inputs are rounded to inside
  bool row_invariant = true;
  bool recordable =
      true;  ///< its launches can be recorded and replayed (false: it waits on the host)
  /// Why it cannot serve this node; empty: it can. Policy (activation precision, determinism) is
  /// checked by the caller from the fields above.
  std::string (*reject)(const OpT& op, const NodeView& node, const DeviceFeatures& features);
  /// Packs. `weights` stand in the node's order and are given back to the reader afterwards.
  std::unique_ptr<CudaKernel> (*make)(const OpT& op, const NodeView& node, Weights weights,
                                      LoadContext& load);
  /// What make() will ask LoadContext for; null: nothing.
  std::vector<PackedNeed> (*needs)(const OpT& op, const NodeView& node) = nullptr;
  /// Bytes workspace_bytes() will say; null: none.
  std::int64_t (*planned_workspace)(const OpT& op, const NodeView& node,
                                    const StepSizes& limits) = nullptr;
};

// One overload per op of the closed list, in kernel_list_*.cpp.
std::span<const KernelEntry<Embedding>> kernels(const Embedding*);
std::span<const KernelEntry<Linear>> kernels(const Linear*);
std::span<const KernelEntry<Norm>> kernels(const Norm*);
std::span<const KernelEntry<Activation>> kernels(const Activation*);
std::span<const KernelEntry<GatedActivation>> kernels(const GatedActivation*);
std::span<const KernelEntry<Add>> kernels(const Add*);
std::span<const KernelEntry<Mul>> kernels(const Mul*);
std::span<const KernelEntry<Scale>> kernels(const Scale*);
std::span<const KernelEntry<Softcap>> kernels(const Softcap*);
std::span<const KernelEntry<Concat>> kernels(const Concat*);
std::span<const KernelEntry<Slice>> kernels(const Slice*);
std::span<const KernelEntry<Cast>> kernels(const Cast*);
std::span<const KernelEntry<GatherRows>> kernels(const GatherRows*);
std::span<const KernelEntry<Rope>> kernels(const Rope*);
std::span<const KernelEntry<CacheWrite>> kernels(const CacheWrite*);
std::span<const KernelEntry<Attention>> kernels(const Attention*);
std::span<const KernelEntry<AllReduce>> kernels(const AllReduce*);
std::span<const KernelEntry<AllGather>> kernels(const AllGather*);
std::span<const KernelEntry<Send>> kernels(const Send*);
std::span<const KernelEntry<Receive>> kernels(const Receive*);
std::span<const KernelEntry<AddNorm>> kernels(const AddNorm*);
std::span<const KernelEntry<GatedLinear>> kernels(const GatedLinear*);
std::span<const KernelEntry<RopeCacheWrite>> kernels(const RopeCacheWrite*);

}  // namespace tenon::cuda
