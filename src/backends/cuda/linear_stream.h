// linear_stream: Linear and GatedLinear over a packed matrix, for few rows at the speed of memory.
// One launch for a node: segments (QKV), biases, and gate, up and activation in the epilogue.
//
// Few rows of x (all, where only row-invariant kernels may run, or cuBLASLt is not there) go
// through the streaming kernel, more of a quantized matrix on Hopper through linear_widening.h;
// more still go through cuBLASLt: 16-bit matrices as they lie, others dequantized to bfloat16 piece
// by piece in workspace.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cuda/cuda_kernel.h"
#include "backends/cuda/linear_packed.h"
#include "ops/op_common.h"

namespace tenon::cuda {

inline constexpr int kGemvBlockRows = 32;  ///< rows of the matrix that a thread block has
inline constexpr int kGemvMostWarps = 16;  ///< of a thread block
inline constexpr int kGemvMaxSegments = 16;

/// Columns that a warp takes at a time, and the lines of 64 bytes they are in each row.
constexpr int gemv_chunk(CodeKind kind) { return kind == CodeKind::k16Bit ? 64 : 128; }
constexpr int gemv_lines(CodeKind kind) { return gemv_chunk(kind) / line_columns(kind); }
/// Bytes of a row's scales for one chunk, as they wait in shared memory: 16-bit ones with the
/// neighbour that makes four bytes.
constexpr int gemv_scale_bytes(ScaleStep step, bool wide) {
  return step == ScaleStep::kRow ? 0 : step == ScaleStep::kLine ? 4 : wide ? 16 : 8;
}
/// Bytes of one chunk of the matrix in shared memory, a thread: its four rows' codes, and one row's
/// scales.
constexpr int gemv_stage_bytes(CodeKind kind, ScaleStep step, bool wide, bool minimum) {
  return 64 * gemv_lines(kind) + gemv_scale_bytes(step, wide) * (minimum ? 2 : 1);
}
/// Bytes from one row of x to the next there: rows of a pair lie in different banks.
constexpr int gemv_x_bytes(CodeKind kind) { return 2 * gemv_chunk(kind) + 64; }
/// Chunks that are on their way to a warp or being multiplied, where there is room for them.
constexpr int gemv_depth(CodeKind kind) { return kind == CodeKind::kInt4 ? 4 : 3; }
inline constexpr int kGemvLeastDepth = 2;

struct GemvOutput {
  void* data;
  std::int64_t width;
  std::int32_t begin;  ///< row of the matrix that is its first column
  DataType type;
};

struct GemvArguments {
  PackedMatrix matrix;
  const std::uint8_t* x = nullptr;   ///< [x_rows, columns], 16-bit
  const float* row_scale = nullptr;  ///< [rows] or null
  const float* bias = nullptr;       ///< [rows] or null
  std::int64_t x_rows = 0;
  std::int32_t rows = 0;
  std::int32_t columns = 0;
  std::int32_t chunks = 0;
  std::int32_t stage_bytes = 0;  ///< of a warp: one chunk, with x
  std::int32_t segments = 0;
  bool gated = false;  ///< rows are gate's, then from up_begin on up's
  std::int32_t up_begin = 0;
  ActivationKind kind = ActivationKind::kIdentity;
  GemvOutput out[kGemvMaxSegments] = {};
};

struct GemvLaunch {
  unsigned passes = 0;  ///< groups of `width` rows of x
  unsigned blocks = 0;  ///< of rows of the matrix
  unsigned threads = 0;
  int width = 8;  ///< 8 or 16
  int depth = 0;  ///< stages of a warp's ring
  int shared_bytes = 0;
  bool early = false;  ///< starts while the launch before it still runs (programmatic launch)
};

/// How a node's arguments are launched with `x_rows` rows: up to 16 a pass. `warps` of a thread
/// block, 0: chosen from the matrix and the device alone, so that the order of sums is too.
GemvLaunch plan_gemv(GemvArguments& arguments, const DeviceFeatures& features, int warps = 0);
void launch_gemv(const GemvArguments& a, const GemvLaunch& launch, cudaStream_t stream);

// One a file of forms.
void launch_gemv_16bit(const GemvArguments& a, const GemvLaunch& launch, cudaStream_t stream);
void launch_gemv_8bit(const GemvArguments& a, const GemvLaunch& launch, cudaStream_t stream);
void launch_gemv_4bit(const GemvArguments& a, const GemvLaunch& launch, cudaStream_t stream);

/// Rows [begin, begin + rows) of the matrix as bfloat16 [rows, columns].
void launch_dequantize(const PackedMatrix& matrix, std::int64_t begin, std::int64_t rows, void* out,
                       cudaStream_t stream);

/// Biases of a node's first `count` matrices, joined as fp32 [rows].
PackedNeed joined_bias_need(const NodeView& node, std::size_t count, const PackedMatrix& form);
const float* load_joined_bias(const NodeView& node, const Weights& weights, std::size_t count,
                              const PackedMatrix& form, LoadContext& load);

/// `type` of x as stored: float16 or bfloat16. `rows_apart`: any number of rows goes through the
/// streaming kernel, so that a row depends on itself alone.
template <class OpT>
std::string reject_stream(const OpT& op, const NodeView& node, const DeviceFeatures& features,
                          DataType type);
template <class OpT>
std::vector<PackedNeed> stream_needs(const OpT& op, const NodeView& node, bool rows_apart);
template <class OpT>
std::unique_ptr<CudaKernel> make_stream(const OpT& op, const NodeView& node, Weights weights,
                                        LoadContext& load, bool rows_apart);
template <class OpT>
std::int64_t stream_workspace(const OpT& op, const NodeView& node, const StepSizes& limits);

}  // namespace tenon::cuda
