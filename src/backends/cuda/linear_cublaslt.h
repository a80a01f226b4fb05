// Linear and GatedLinear of plain weights through cuBLASLt: all weights of a node packed as one
// matrix. Segments (Q, K, V) have a product each, or, where that was measured to be faster, all one
// product into workspace, which a launch parts. Gate and up are always one product.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cuda/cublaslt.h"
#include "backends/cuda/cuda_kernel.h"
#include "backends/cuda/linear_split.h"
#include "backends/cuda/linear_tactic.h"

namespace tenon::cuda {

/// Rows of a step beyond which segments are not joined: the products are large enough by
/// themselves, and workspace is planned for no more.
inline constexpr std::int64_t kMostJoinedRows = 1024;

/// A node's products through cuBLASLt.
class CublasLtLinear : public CudaKernel, public TunableKernel {
 public:
  /// kProducts or kJoined, the latter where tactics() has it.
  virtual void launch_as(const LinearTactic& tactic, std::span<const TensorRef> inputs,
                         std::span<const TensorRef> outputs, const StepContext& step) const = 0;

  void launch(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
              const StepContext& step) const final;
  void set_tactic(std::int64_t rows, const LinearTactic& tactic) final;

 private:
  TacticsByRows tactics_;
};

/// Element type of the node's matrices and of x as stored: float32, float16 or bfloat16.
template <class OpT>
std::string reject_cublaslt(const OpT& op, const NodeView& node, const DeviceFeatures& features,
                            DataType type);
template <class OpT>
std::vector<PackedNeed> cublaslt_needs(const OpT& op, const NodeView& node);
template <class OpT>
std::unique_ptr<CublasLtLinear> make_cublaslt(const OpT& op, const NodeView& node, Weights weights,
                                              LoadContext& load);
/// The node's first `count` matrices of plain elements, joined by rows: one copy for all that read
/// them so.
PackedNeed joined_need(const NodeView& node, std::size_t count);
const std::byte* load_joined(const NodeView& node, const Weights& weights, std::size_t count,
                             LoadContext& load);

/// GatedLinear: gate and up of all rows, before the activation. Linear: segments of at most
/// kMostJoinedRows rows, where they can be joined.
std::int64_t cublaslt_workspace(const GatedLinear& op, const NodeView& node,
                                const StepSizes& limits);
std::int64_t cublaslt_workspace(const Linear& op, const NodeView& node, const StepSizes& limits);

/// A node's outputs as parts of one product: several, all of one type.
bool can_join(const NodeView& node);
/// Bytes of a row of that product; 0 where it cannot be.
std::int64_t joined_row_bytes(const NodeView& node);
/// Without biases.
RowSplit split_of(const std::byte* joined, std::span<const TensorRef> outputs);

/// Ways through cuBLASLt for `rows` rows, its first choice first. `product`: the node's one
/// product, or that of its joined segments. `joins`: segments have a product each first.
std::vector<LinearTactic> cublaslt_tactics(const MatmulShape& product, bool one_segment, bool joins,
                                           CublasLt& blas);

}  // namespace tenon::cuda
