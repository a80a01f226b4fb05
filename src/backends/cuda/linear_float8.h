// Linear and GatedLinear whose x is rounded to float8_e4m3, each row under a scale of its own,
// times fp8 matrices. More than a few rows go through cuBLASLt, which reads the same packed matrix:
// it orders columns within lines, and rows of x are written in that order too. Where it takes both
// scales into its products (DeviceFeatures::scaled_to_…) these go straight to the node's outputs;
// gate and up to workspace as bfloat16, activated by a launch after; segments (Q, K, V) each to its
// own or, joined, to workspace, from where a launch parts them. Elsewhere, and for few rows, which
// the streaming kernel has, sums of codes meet scales, biases and the activation in one launch
// after.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cuda/cuda_kernel.h"
#include "backends/cuda/linear_stream.h"

namespace tenon::cuda {

/// x [rows, columns] of bfloat16 to codes, and a scale a row: its largest magnitude over 448.
struct Float8Rows {
  const void* x = nullptr;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t row_bytes = 0;  ///< of fp8 codes, whole lines; 0: codes as bfloat16, in x's order
  void* codes = nullptr;
  float* scales = nullptr;
};
/// `early`: it may start while the launch before it still runs (programmatic launch).
void launch_round_rows(const Float8Rows& rows, bool early, cudaStream_t stream);

/// Sums of codes to outputs: times the row's scale and the column's, plus the bias; where gated,
/// the first half activated times the second.
struct Float8Epilogue {
  const float* sums = nullptr;      ///< [rows, width]
  const float* x_scales = nullptr;  ///< [rows]
  const float* w_scales = nullptr;  ///< [width] or null: 1
  const float* bias = nullptr;      ///< [width] or null
  std::int64_t rows = 0;
  std::int64_t width = 0;
  bool gated = false;
  ActivationKind kind = ActivationKind::kIdentity;
  std::int32_t segments = 0;
  GemvOutput out[kGemvMaxSegments] = {};
};
void launch_float8_epilogue(const Float8Epilogue& epilogue, cudaStream_t stream);

/// How more than a few rows are multiplied.
enum class Float8Products : std::uint8_t {
  kScaled,  ///< scales within the products, which are rounded once to their type
  kSums,    ///< fp32 sums, scaled by a launch after
};

template <class OpT>
std::string reject_float8(const OpT& op, const NodeView& node, const DeviceFeatures& features,
                          Float8Products products);
template <class OpT>
std::vector<PackedNeed> float8_needs(const OpT& op, const NodeView& node, Float8Products products);
template <class OpT>
std::unique_ptr<CudaKernel> make_float8(const OpT& op, const NodeView& node, Weights weights,
                                        LoadContext& load, Float8Products products);
template <class OpT>
std::int64_t float8_workspace(const OpT& op, const NodeView& node, const StepSizes& limits);

}  // namespace tenon::cuda
