// CpuKernel: one node of a CPU program, with its packed weights; and the ordered lists from which
// nodes get theirs. A list names kernels best first and ends with the fp32 reference.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "backends/cpu/cpu_features.h"
#include "core/thread_pool.h"

namespace tenon::cpu {

/// A value during a step: dense rows. `rows` is the product of all extents but the last.
struct TensorRef {
  std::byte* data = nullptr;
  DataType dtype = DataType::kFloat32;
  std::int64_t rows = 0;
  std::int64_t width = 0;
  float* f32() const { return reinterpret_cast<float*>(data); }
  std::int32_t* i32() const { return reinterpret_cast<std::int32_t*>(data); }
};

class PagedCache;  // paged_cache.h: block tables of the step's sequences, pools per layer
class RopeTables;  // rope_tables.h: sines and cosines of the step's positions, made once for all
                   // layers

/// What kernels see of the step.
struct StepContext {
  ThreadPool& pool;
  const Batch& batch;
  PagedCache* cache = nullptr;
  Communicator* communicator = nullptr;
  std::span<std::byte> workspace;  ///< shared by all nodes, 64-byte aligned
  RopeTables* rope = nullptr;
};

class CpuKernel {
 public:
  virtual ~CpuKernel() = default;
  virtual void run(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
                   StepContext& step) const = 0;
  /// Bytes of StepContext::workspace needed at the largest step with `threads` threads.
  virtual std::int64_t workspace_bytes(const StepSizes& limits, int threads) const {
    (void)limits, (void)threads;
    return 0;
  }
  /// Bytes of packed weights that this kernel owns (a view of the mapped file counts 0).
  virtual std::int64_t packed_bytes() const { return 0; }
};

/// A node as a kernel list sees it.
struct NodeView {
  std::vector<ValueType> inputs;
  std::vector<ValueType> outputs;
  std::vector<WeightUse> weights;
};

template <class OpT>
struct KernelEntry {
  const char* name;                          ///< "linear_amx_bf16"
  DataType activation = DataType::kFloat32;  ///< precision its inputs are rounded to inside
  bool row_invariant = true;
  /// Why it cannot serve this node; empty: it can. Policy (activation precision, determinism) is
  /// checked by the caller from the two fields above.
  std::string (*reject)(const OpT& op, const NodeView& node, const CpuFeatures& features);
  /// Packs. `weights` stand in the node's order and are given back to the reader afterwards.
  std::unique_ptr<CpuKernel> (*make)(const OpT& op, const NodeView& node,
                                     std::vector<QuantizedTensor> weights, ThreadPool& pool);
  /// Bytes packed_bytes() will say, for the plan.
  std::int64_t (*planned_bytes)(const OpT& op, const NodeView& node) = nullptr;
  /// Bytes workspace_bytes() will say, for the plan.
  std::int64_t (*planned_workspace)(const OpT& op, const NodeView& node, const StepSizes& limits,
                                    int threads) = nullptr;
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

}  // namespace tenon::cpu
