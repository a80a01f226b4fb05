// Products of a few rows of x (up to 16 at a time) with a packed matrix, at the speed at which the
// matrix streams from memory: linear_stream.h.
//
// A thread block has kGemvBlockRows rows of the matrix; its warps share the columns, chunk by chunk
// in turn, and add their sums at the end in the warps' order. Codes, scales and x go through a ring
// in shared memory that each warp fills for itself with asynchronous copies, kDepth - 1 chunks
// ahead; those of the matrix begin while the launch before still runs. Codes are operands of tensor
// cores as they lie. Which warp has which columns depends on the matrix alone, so a row's result
// does not depend on the other rows of x.
//
// Narrow codes are bound by instructions, not by memory: what a code takes on its way to a tensor
// core counts most, so offsets are taken off products (of x's sums, by tensor cores too), not
// codes.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cuda/device/activate.h"
#include "backends/cuda/device/copy_async.cuh"
#include "backends/cuda/device/dequant.cuh"
#include "backends/cuda/device/element.h"
#include "backends/cuda/device/launch_early.cuh"
#include "backends/cuda/device/mma.cuh"
#include "backends/cuda/linear_stream.h"

namespace tenon::cuda {

/// What a kernel is compiled for.
template <CodeKind kKind_, class X_, ScaleStep kStep_ = ScaleStep::kRow, bool kWideScale_ = true,
          bool kMinimum_ = false>
struct GemvForm {
  using X = X_;
  static constexpr CodeKind kKind = kKind_;
  static constexpr ScaleStep kStep = kStep_;
  static constexpr bool kWideScale = kWideScale_;  // fp32, else 16 bits
  static constexpr bool kMinimum = kMinimum_;
  static constexpr int kChunk = gemv_chunk(kKind);  // columns
  static constexpr int kLine = line_columns(kKind);
  static constexpr int kLines = gemv_lines(kKind);  // copies of a row's chunk
  static constexpr int kRuns = kLine / 32;          // tensor-core steps of a line
  static constexpr bool kGrouped = kStep != ScaleStep::kRow;
  static constexpr bool kBiased = kKind == CodeKind::kInt4;  // codes plus 128 are multiplied
  static constexpr bool kApart = kGrouped || kBiased;        // sums of a chunk, or of a run, first
  static constexpr bool kOnes = kMinimum || kBiased;         // x's own sums are wanted
  static constexpr int kScaleBytes = gemv_scale_bytes(kStep, kWideScale);  // of a row's chunk
  static constexpr int kScaleWords = kGrouped ? kScaleBytes / 4 : 1;
  static constexpr int kStageBytes = gemv_stage_bytes(kKind, kStep, kWideScale, kMinimum);
  static constexpr int kXBytes = gemv_x_bytes(kKind);
};

/// One chunk of the four matrix rows of a lane: g, g + 8 of the block's first 16, then of its
/// second.
template <class Form>
struct GemvStage {
  uint4 codes[4][Form::kLines];
  std::uint32_t scale[4][Form::kScaleWords];
  std::uint32_t minimum[4][Form::kScaleWords];
};

/// Row of the matrix that is the block's row `i`; past the last one, the last.
__device__ __forceinline__ int gemv_row(const GemvArguments& a, int block, int i) {
  constexpr int kHalf = kGemvBlockRows / 2;
  if (!a.gated) return min(block * kGemvBlockRows + i, a.rows - 1);
  return min(block * kHalf + i % kHalf, a.up_begin - 1) + (i < kHalf ? 0 : a.up_begin);
}

/// What a lane copies of its warp's next chunk: 16 bytes a line of four rows, the scales of row
/// r = t for its quad, a part of x. Advances from chunk to chunk.
template <class Form>
struct GemvSource {
  const std::uint8_t* codes[4];
  const std::uint8_t* x;
  std::uint32_t scales;  // of row t: the first
  std::uint32_t odd;     // bit r, whether row r begins at an odd scale
  int chunk;

  static constexpr int kPieces = Form::kChunk / 8;  // 16 bytes of a row of x
  static constexpr int kXRows = 32 / kPieces;       // that a warp copies at once

  static __device__ __forceinline__ int row_of(const GemvArguments& a, int block, int r) {
    return gemv_row(a, block, r * 8 + static_cast<int>(threadIdx.x) % 32 / 4);
  }
  __device__ __forceinline__ void enter(const GemvArguments& a, int block, std::int64_t first_x) {
    const int lane = threadIdx.x % 32;
    chunk = static_cast<int>(threadIdx.x) / 32;
    odd = 0;
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const int row = row_of(a, block, r);
      codes[r] = a.matrix.codes + row * a.matrix.row_bytes +
                 static_cast<std::int64_t>(chunk) * Form::kLines * 64 + lane % 4 * 16;
      odd |= static_cast<std::uint32_t>(row * a.matrix.scale_stride & 1) << r;
    }
    scales = static_cast<std::uint32_t>(row_of(a, block, lane % 4)) * a.matrix.scale_stride;
    x = a.x + (first_x + lane / kPieces) * a.columns * 2 +
        (chunk * Form::kChunk + lane % kPieces * 8) * 2;
  }
  __device__ __forceinline__ void advance(int warps) {
    chunk += warps;
#pragma unroll
    for (int r = 0; r < 4; ++r) codes[r] += warps * Form::kLines * 64;
  }
  __device__ __forceinline__ void advance_x(int warps) { x += warps * Form::kChunk * 2; }

  /// To a stage at `to`.
  __device__ __forceinline__ void copy_matrix(const GemvArguments& a, std::uint32_t to) const {
    if (chunk >= a.chunks) return;
    const std::uint32_t lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < Form::kLines; ++i) {
      // Rows are padded to whole lines, 16-bit ones not at all.
      const int column = chunk * Form::kChunk + i * Form::kLine +
                         (Form::kKind == CodeKind::k16Bit ? static_cast<int>(lane) % 4 * 8 : 0);
      const bool there = (i == 0 && Form::kKind != CodeKind::k16Bit) || column < a.columns;
#pragma unroll
      for (int r = 0; r < 4; ++r)
        copy_async(to + (r * Form::kLines + i) * 512 + lane * 16, codes[r] + i * 64, there);
    }
    if constexpr (Form::kGrouped) {
      constexpr int kBytes = Form::kWideScale ? 4 : 2;
      std::uint32_t at;
      if constexpr (Form::kStep == ScaleStep::kRun)
        at = scales + static_cast<std::uint32_t>(chunk) * 4;
      else
        at = scales + (static_cast<std::uint32_t>(chunk) >> a.matrix.line_shift);
      // A single scale of 16 bits comes with the neighbour that makes four bytes.
      if constexpr (Form::kStep == ScaleStep::kLine && !Form::kWideScale) at &= ~1U;
      const std::uint64_t byte = static_cast<std::uint64_t>(at) * kBytes;
      to += 32 * 64 * Form::kLines + lane * Form::kScaleBytes;
      copy_async_part<Form::kScaleBytes>(to,
                                         static_cast<const std::uint8_t*>(a.matrix.scale) + byte);
      if constexpr (Form::kMinimum)
        copy_async_part<Form::kScaleBytes>(
            to + 32 * Form::kScaleBytes, static_cast<const std::uint8_t*>(a.matrix.minimum) + byte);
    }
  }
  /// `count` rows of x of chunk `of`; zeros past the last column.
  __device__ __forceinline__ void copy_x(const GemvArguments& a, std::uint32_t to, int of,
                                         int count) const {
    if (of >= a.chunks) return;
    const int lane = threadIdx.x % 32;
    const bool there = of * Form::kChunk + lane % kPieces * 8 < a.columns;
    to += 32 * Form::kStageBytes + lane / kPieces * Form::kXBytes + lane % kPieces * 16;
    if (lane / kPieces < count) copy_async(to, x, there);
    if (count <= kXRows) return;
    const std::uint8_t* from = x;
    for (int row = lane / kPieces + kXRows; row < count; row += kXRows) {
      from += static_cast<std::int64_t>(kXRows * 2) * a.columns;
      to += kXRows * Form::kXBytes;
      copy_async(to, from, there);
    }
  }
};

/// One chunk, from a stage at `from`: codes [row of the lane][line][lane] of 16 bytes, scales of a
/// quad's four rows side by side, minima likewise.
template <class Form>
__device__ __forceinline__ void read_stage(const std::uint8_t* from, GemvStage<Form>& to) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int r = 0; r < 4; ++r)
#pragma unroll
    for (int i = 0; i < Form::kLines; ++i)
      to.codes[r][i] =
          *reinterpret_cast<const uint4*>(from + (r * Form::kLines + i) * 512 + lane * 16);
  const auto read_scales = [&](const std::uint8_t* quad,
                               std::uint32_t(&words)[4][Form::kScaleWords]) {
#pragma unroll
    for (int i = 0; i < Form::kScaleWords; ++i) {
      const uint4 four = reinterpret_cast<const uint4*>(quad)[i];
      const std::uint32_t each[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
      for (int j = 0; j < 4; ++j)
        words[(4 * i + j) / Form::kScaleWords][(4 * i + j) % Form::kScaleWords] = each[j];
    }
  };
  if constexpr (Form::kGrouped) {
    const std::uint8_t* const quad =
        from + 32 * 64 * Form::kLines + (lane & ~3) * Form::kScaleBytes;
    read_scales(quad, to.scale);
    if constexpr (Form::kMinimum) read_scales(quad + 32 * Form::kScaleBytes, to.minimum);
  }
}

/// Scale `i` of a row's words.
template <class Form>
__device__ __forceinline__ float scale_of(const std::uint32_t (&words)[Form::kScaleWords],
                                          std::uint32_t i, bool bfloat) {
  if constexpr (!Form::kGrouped) {
    return 1.F;
  } else if constexpr (Form::kWideScale) {
    return __uint_as_float(words[i]);
  } else {
    const std::uint32_t word = words[i / 2];
    const std::uint32_t high = __byte_perm(word, 0, i % 2 == 0 ? 0x1044 : 0x3244);
    return bfloat ? __uint_as_float(high)
                  : __half2float(__ushort_as_half(static_cast<unsigned short>(high >> 16)));
  }
}

/// Sums of one lane: [first or second 16 rows][8 rows of x][row g and g + 8, two columns].
template <int kTiles>
using GemvSums = float[2][kTiles][4];

template <int kTiles>
__device__ __forceinline__ void clear(GemvSums<kTiles>& sums) {
#pragma unroll
  for (int r = 0; r < 2; ++r)
#pragma unroll
    for (int n = 0; n < kTiles; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) sums[r][n][i] = 0.F;
}

// `x`: the lane's place in the chunk's rows of x. `odd`: bit r, whether row r's
// scale is the second of the two 16-bit ones there (ScaleStep::kLine).
template <class Form, int kTiles>
__device__ __forceinline__ void multiply_stage(const GemvArguments& a, const GemvStage<Form>& stage,
                                               const std::uint8_t* const (&x)[kTiles],
                                               std::uint32_t odd, GemvSums<kTiles>& total) {
  using X = typename Form::X;
  constexpr int kRunsOfChunk = Form::kChunk / 32;
  GemvSums<kTiles> apart;
  float ones[kTiles][4];
  if constexpr (Form::kApart) clear<kTiles>(apart);
#pragma unroll
  for (int n = 0; n < kTiles; ++n)
#pragma unroll
    for (int i = 0; i < 4; ++i) ones[n][i] = 0.F;
  const bool bfloat = a.matrix.scale_type == DataType::kBFloat16;
  const float bias = Form::kBiased ? __uint_as_float(a.matrix.code_offset << 16) : 0.F;
#pragma unroll
  for (int run = 0; run < kRunsOfChunk; ++run) {
    uint4 columns[kTiles];
#pragma unroll
    for (int n = 0; n < kTiles; ++n) columns[n] = *reinterpret_cast<const uint4*>(x[n] + run * 64);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      std::uint32_t low[4];
      std::uint32_t high[4];
      Unpack<Form::kKind>::run(stage.codes[2 * r][run / Form::kRuns], run % Form::kRuns, low);
      Unpack<Form::kKind>::run(stage.codes[2 * r + 1][run / Form::kRuns], run % Form::kRuns, high);
#pragma unroll
      for (int n = 0; n < kTiles; ++n)
        mma_32<X>(Form::kApart ? apart[r][n] : total[r][n], low, high, columns[n]);
    }
    if constexpr (Form::kOnes) {
      constexpr std::uint32_t kOne = 0x3F803F80U;  // two bfloat16: these forms have no other x
      const std::uint32_t all[4] = {kOne, kOne, kOne, kOne};
#pragma unroll
      for (int n = 0; n < kTiles; ++n) mma_32<X>(ones[n], all, all, columns[n]);
    }
    if constexpr (Form::kApart) {
      if (Form::kStep != ScaleStep::kRun && run + 1 < kRunsOfChunk) continue;
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const std::uint32_t at = Form::kStep == ScaleStep::kRun ? run
                                 : Form::kWideScale             ? 0
                                                                : odd >> r & 1U;
        const float scale = scale_of<Form>(stage.scale[r], at, bfloat);
        float minimum = 0.F;
        if constexpr (Form::kMinimum) minimum = scale_of<Form>(stage.minimum[r], at, bfloat);
#pragma unroll
        for (int n = 0; n < kTiles; ++n)
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            float part = apart[r / 2][n][r % 2 * 2 + i];
            if constexpr (Form::kBiased) part = __fmaf_rn(-bias, ones[n][i], part);
            float& sum = total[r / 2][n][r % 2 * 2 + i];
            sum = __fmaf_rn(scale, part, sum);
            if constexpr (Form::kMinimum) sum = __fmaf_rn(minimum, ones[n][i], sum);
          }
      }
      clear<kTiles>(apart);
#pragma unroll
      for (int n = 0; n < kTiles; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) ones[n][i] = 0.F;
    }
  }
}

/// The output that a thread finishes for each row of x, and what its sums meet. All of it is
/// weights: asked for at the start, so that it is near at the end.
struct GemvFinish {
  int row = 0;   ///< of the block's outputs
  int at = 0;    ///< row of the matrix
  int rows = 0;  ///< outputs of a block, a power of two
  float scale = 1.F;
  float bias = 0.F;
  float up_scale = 1.F;
  float up_bias = 0.F;

  static __device__ __forceinline__ void ask(const GemvArguments& a, int block) {
    if (threadIdx.x >= kGemvBlockRows) return;
    const int row = gemv_row(a, block, static_cast<int>(threadIdx.x));
    if (a.row_scale != nullptr) asm volatile("prefetch.global.L1 [%0];" ::"l"(a.row_scale + row));
    if (a.bias != nullptr) asm volatile("prefetch.global.L1 [%0];" ::"l"(a.bias + row));
  }
  __device__ __forceinline__ void enter(const GemvArguments& a, int block) {
    rows = a.gated ? kGemvBlockRows / 2 : kGemvBlockRows;
    row = static_cast<int>(threadIdx.x) & (rows - 1);
    at = block * rows + row;
    if (at >= (a.gated ? a.up_begin : a.rows)) return;
    if (a.row_scale != nullptr) scale = a.row_scale[at];
    if (a.bias != nullptr) bias = a.bias[at];
    if (!a.gated) return;
    if (a.row_scale != nullptr) up_scale = a.row_scale[a.up_begin + at];
    if (a.bias != nullptr) up_bias = a.bias[a.up_begin + at];
  }
};

// The warps' sums, added in their order; then scale, bias, activation and rounding. `sums`:
// [warps][kBlockRows][width].
__device__ __forceinline__ void write_outputs(const GemvArguments& a, const GemvFinish& finish,
                                              const float* sums, int width, std::int64_t first,
                                              int count) {
  if (finish.at >= (a.gated ? a.up_begin : a.rows)) return;
  const int warps = static_cast<int>(blockDim.x) / 32;
  const auto total = [&](int row, int m) {
    float sum = 0.F;
#pragma unroll 4
    for (int w = 0; w < warps; ++w) sum += sums[(w * kGemvBlockRows + row) * width + m];
    return sum;
  };
  int s = 0;
  while (s + 1 < a.segments && finish.at >= a.out[s + 1].begin) ++s;
  const GemvOutput& out = a.out[s];
  const int shift = a.gated ? 4 : 5;
  static_assert(kGemvBlockRows == 32);
  for (int m = static_cast<int>(threadIdx.x) >> shift; m < count;
       m += static_cast<int>(blockDim.x) >> shift) {
    float y = total(finish.row, m) * finish.scale + finish.bias;
    if (a.gated)
      y = activate(a.kind, y) *
          (total(finish.rows + finish.row, m) * finish.up_scale + finish.up_bias);
    store(out.data, out.type, (first + m) * out.width + finish.at - out.begin, y);
  }
}

/// Grid: (groups of 8 * kTiles rows of x, blocks of rows of the matrix), so that blocks that read
/// the same rows of the matrix run together.
template <class Form, int kTiles, int kDepth>
__global__ void __launch_bounds__(32 * kGemvMostWarps, 1)
    gemv_kernel(const __grid_constant__ GemvArguments a) {
  extern __shared__ __align__(16) std::uint8_t shared[];
  constexpr int kWidth = 8 * kTiles;
  let_next_start();
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int warps = static_cast<int>(blockDim.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int g = lane / 4;
  const int t = lane % 4;
  const int block = static_cast<int>(blockIdx.y);
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kWidth;
  const int count = static_cast<int>(min(static_cast<std::int64_t>(kWidth), a.x_rows - first));
  const int stage_bytes = a.stage_bytes;
  const int ring_bytes = kDepth * stage_bytes;
  const std::uint8_t* const ring = shared + warp * ring_bytes;
  const std::uint32_t ring_address = shared_address(ring);
  GemvSource<Form> source;
  source.enter(a, block, first);
  GemvFinish::ask(a, block);
  const std::uint32_t odd_rows = source.odd;
  int chunk = source.chunk;
#pragma unroll 1
  for (int d = 0; d + 1 < kDepth; ++d) {
    source.copy_matrix(a, ring_address + d * stage_bytes);
    source.advance(warps);
  }
  wait_for_inputs();
#pragma unroll 1
  for (int d = 0; d + 1 < kDepth; ++d) {
    source.copy_x(a, ring_address + d * stage_bytes, chunk + d * warps, count);
    source.advance_x(warps);
  }
  commit_copies();

  GemvSums<kTiles> total;
  clear<kTiles>(total);
  int reading = 0;
  int filling = ring_bytes - stage_bytes;
  const int steps = (a.chunks + warps - 1) / warps;
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    if (step == 0)
      wait_copies<0>();
    else
      wait_copies<kDepth - 2>();
    __syncwarp();  // other lanes' copies are there, and what they read before is free
    const std::uint8_t* const here = ring + reading;
    GemvStage<Form> stage;
    read_stage(here, stage);
    source.copy_matrix(a, ring_address + filling);
    source.copy_x(a, ring_address + filling, source.chunk, count);
    commit_copies();
    source.advance(warps);
    source.advance_x(warps);
    filling = reading;
    reading += stage_bytes;
    if (reading == ring_bytes) reading = 0;
    if (chunk < a.chunks) {
      const std::uint8_t* x[kTiles];
#pragma unroll
      for (int n = 0; n < kTiles; ++n)
        x[n] = here + 32 * Form::kStageBytes + min(g + 8 * n, count - 1) * Form::kXBytes + t * 16;
      const bool odd = (chunk >> a.matrix.line_shift & 1) != 0;
      multiply_stage<Form, kTiles>(a, stage, x, odd ? ~odd_rows : odd_rows, total);
    }
    chunk += warps;
  }
  __syncthreads();  // sums lie where the rings were
  auto* const sums = reinterpret_cast<float*>(shared);
#pragma unroll
  for (int r = 0; r < 4; ++r)
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
      const float* const two = &total[r / 2][n][r % 2 * 2];
      if (n * 8 + 2 * t < count)
        *reinterpret_cast<float2*>(sums + (warp * kGemvBlockRows + r * 8 + g) * kWidth + n * 8 +
                                   2 * t) = make_float2(two[0], two[1]);
    }
  __syncthreads();
  GemvFinish finish;
  finish.enter(a, block);
  write_outputs(a, finish, sums, kWidth, first, count);
}

/// Launches one form for up to 8, or up to 16 rows of x at a time.
template <class Form>
void launch_form(const GemvArguments& a, const GemvLaunch& launch, cudaStream_t stream) {
  const auto run = [&](auto kernel) {
    launch_early(kernel, "linear_stream", dim3(launch.passes, launch.blocks), launch.threads,
                 static_cast<std::size_t>(launch.shared_bytes), launch.early, stream, a);
  };
  if (launch.width > 8)
    run(gemv_kernel<Form, 2, kGemvLeastDepth>);
  else if (launch.depth > kGemvLeastDepth)
    run(gemv_kernel<Form, 1, gemv_depth(Form::kKind)>);
  else
    run(gemv_kernel<Form, 1, kGemvLeastDepth>);
}

}  // namespace tenon::cuda
