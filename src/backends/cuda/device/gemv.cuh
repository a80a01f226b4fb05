// Products of a few rows of x (up to 16 at a time) with a packed matrix, at the speed at which the
// matrix streams from memory: linear_stream.h.
//
// A block has kBlockRows rows of the matrix; its warps share the columns, chunk by chunk in turn,
// and add their sums at the end in the warps' order. Codes go from memory to registers in 16-byte
// loads, kDepth chunks ahead, and are operands of tensor cores as they lie; x waits in shared
// memory. Which warp has which columns depends on the matrix alone, so a row's result does not
// depend on the other rows of x.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cuda/device/activate.h"
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
  static constexpr int kLines = kChunk / kLine;  // loads of a row
  static constexpr int kRuns = kLine / 32;       // tensor-core steps of a line
  static constexpr bool kGrouped = kStep != ScaleStep::kRow;
  static constexpr int kScales = kStep == ScaleStep::kRun ? 4 : 1;  // of a row and chunk
  static constexpr int kScaleWords = kWideScale ? kScales : (kScales + 1) / 2;
  // Chunks of codes in registers, all but one of them on their way.
  static constexpr int kDepth = kKind != CodeKind::kInt4   ? 2
                                : kStep != ScaleStep::kRun ? 4
                                : kWideScale || kMinimum   ? 2
                                                           : 3;
};

/// 16 bytes that are read once, or zeros. Predicated within: a branch would have to wait for them.
__device__ __forceinline__ uint4 load_once(const void* from, bool there) {
  uint4 out;
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.u32 p, %5, 0;\n"
      "mov.b32 %0, 0;\nmov.b32 %1, 0;\nmov.b32 %2, 0;\nmov.b32 %3, 0;\n"
      "@p ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0,%1,%2,%3}, [%4];\n}"
      : "=&r"(out.x), "=&r"(out.y), "=&r"(out.z), "=&r"(out.w)
      : "l"(from), "r"(static_cast<int>(there)));
  return out;
}

/// The four matrix rows of a lane: g, g + 8 of the block's first 16, then of its second.
template <class Form>
struct GemvStage {
  uint4 codes[4][Form::kLines];
  std::uint32_t scale[4][Form::kScaleWords];
  std::uint32_t minimum[4][Form::kScaleWords];
};

template <int kWords>
__device__ __forceinline__ void load_scales(const void* from, std::uint32_t (&to)[kWords],
                                            bool half) {
  if constexpr (kWords == 4) {
    const uint4 all = __ldg(static_cast<const uint4*>(from));
    to[0] = all.x;
    to[1] = all.y;
    to[2] = all.z;
    to[3] = all.w;
  } else if constexpr (kWords == 2) {
    const uint2 all = __ldg(static_cast<const uint2*>(from));
    to[0] = all.x;
    to[1] = all.y;
  } else {
    to[0] = half ? __ldg(static_cast<const std::uint16_t*>(from))
                 : __ldg(static_cast<const std::uint32_t*>(from));
  }
}

/// A lane's rows: its 16 bytes of the first line of each, and where their scales begin.
struct GemvRows {
  const std::uint8_t* codes[4];
  std::uint32_t scales[4];
};

template <class Form>
__device__ __forceinline__ void load_stage(const GemvArguments& a, const GemvRows& rows, int chunk,
                                           GemvStage<Form>& stage) {
  const int lane_column = threadIdx.x % 4 * 8;
#pragma unroll
  for (int r = 0; r < 4; ++r) {
#pragma unroll
    for (int i = 0; i < Form::kLines; ++i) {
      const int line = chunk * Form::kLines + i;
      // Only 16-bit rows are not padded to whole lines.
      const int column = line * Form::kLine + (Form::kKind == CodeKind::k16Bit ? lane_column : 0);
      stage.codes[r][i] = load_once(rows.codes[r] + line * 64, column < a.columns);
    }
  }
  if constexpr (Form::kGrouped) {
    if (chunk >= a.chunks) return;
    const int at = Form::kStep == ScaleStep::kRun ? chunk * 4 : chunk >> a.matrix.line_shift;
    constexpr int kBytes = Form::kWideScale ? 4 : 2;
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const std::int64_t byte = (static_cast<std::int64_t>(rows.scales[r]) + at) * kBytes;
      load_scales(static_cast<const std::uint8_t*>(a.matrix.scale) + byte, stage.scale[r],
                  !Form::kWideScale);
      if constexpr (Form::kMinimum)
        load_scales(static_cast<const std::uint8_t*>(a.matrix.minimum) + byte, stage.minimum[r],
                    !Form::kWideScale);
    }
  }
}

template <class Form>
__device__ __forceinline__ float scale_of(const std::uint32_t (&words)[Form::kScaleWords], int i,
                                          bool bfloat) {
  if constexpr (Form::kWideScale) {
    return __uint_as_float(words[i]);
  } else {
    const std::uint32_t bits = i % 2 == 0 ? words[i / 2] & 0xFFFFU : words[i / 2] >> 16;
    return bfloat ? __uint_as_float(bits << 16)
                  : __half2float(__ushort_as_half(static_cast<unsigned short>(bits)));
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

// `x`: the lane's place in shared memory at the chunk's first column; rows of x are `x_bytes`
// apart.
template <class Form, int kTiles>
__device__ __forceinline__ void multiply_stage(const GemvArguments& a, const GemvStage<Form>& stage,
                                               const std::uint8_t* const (&x)[kTiles],
                                               GemvSums<kTiles>& total) {
  using X = typename Form::X;
  GemvSums<kTiles> group;
  float ones[kTiles][4];
  if constexpr (Form::kGrouped) clear<kTiles>(group);
#pragma unroll
  for (int n = 0; n < kTiles; ++n)
#pragma unroll
    for (int i = 0; i < 4; ++i) ones[n][i] = 0.F;
  const bool bfloat = a.matrix.scale_type == DataType::kBFloat16;
#pragma unroll
  for (int run = 0; run < Form::kChunk / 32; ++run) {
    uint4 columns[kTiles];
#pragma unroll
    for (int n = 0; n < kTiles; ++n) columns[n] = *reinterpret_cast<const uint4*>(x[n] + run * 64);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      std::uint32_t low[4];
      std::uint32_t high[4];
      Unpack<Form::kKind>::run(stage.codes[2 * r][run / Form::kRuns], run % Form::kRuns,
                               a.matrix.code_offset, low);
      Unpack<Form::kKind>::run(stage.codes[2 * r + 1][run / Form::kRuns], run % Form::kRuns,
                               a.matrix.code_offset, high);
#pragma unroll
      for (int n = 0; n < kTiles; ++n)
        mma_32<X>(Form::kGrouped ? group[r][n] : total[r][n], low, high, columns[n]);
    }
    if constexpr (Form::kMinimum) {
      constexpr std::uint32_t kOne = 0x3F803F80U;  // two bfloat16: grouped forms have no other x
      const std::uint32_t all[4] = {kOne, kOne, kOne, kOne};
#pragma unroll
      for (int n = 0; n < kTiles; ++n) mma_32<X>(ones[n], all, all, columns[n]);
    }
    if constexpr (Form::kGrouped) {
      if (Form::kStep == ScaleStep::kLine && run + 1 < Form::kChunk / 32) continue;
      const int at = Form::kStep == ScaleStep::kRun ? run : 0;
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const float scale = scale_of<Form>(stage.scale[r], at, bfloat);
#pragma unroll
        for (int n = 0; n < kTiles; ++n) {
          float* const sum = &total[r / 2][n][r % 2 * 2];
          const float* const part = &group[r / 2][n][r % 2 * 2];
          sum[0] += scale * part[0];
          sum[1] += scale * part[1];
          if constexpr (Form::kMinimum) {
            const float minimum = scale_of<Form>(stage.minimum[r], at, bfloat);
            sum[0] += minimum * ones[n][0];
            sum[1] += minimum * ones[n][1];
          }
        }
      }
      clear<kTiles>(group);
#pragma unroll
      for (int n = 0; n < kTiles; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) ones[n][i] = 0.F;
    }
  }
}

// Rows [first, first + count) of x, columns [begin, begin + columns) with zeros past the last.
__device__ __forceinline__ void fetch_x(const GemvArguments& a, std::int64_t first, int count,
                                        int begin, std::uint8_t* shared) {
  const int pieces = a.piece / 8;
  for (int i = threadIdx.x; i < count * pieces; i += blockDim.x) {
    const int row = i / pieces;
    const int column = begin + i % pieces * 8;
    uint4 eight = make_uint4(0, 0, 0, 0);
    if (column < a.columns)
      eight = *reinterpret_cast<const uint4*>(a.x + ((first + row) * a.columns + column) *
                                                        static_cast<std::int64_t>(2));
    *reinterpret_cast<uint4*>(shared + row * a.x_bytes + i % pieces * 16) = eight;
  }
}

// Sum `sum` of a row of the matrix, with what belongs to the whole row.
__device__ __forceinline__ float finished(const GemvArguments& a, int row, float sum) {
  if (a.row_scale != nullptr) sum *= a.row_scale[row];
  return a.bias == nullptr ? sum : sum + a.bias[row];
}

// The warps' sums, added in their order; then bias, activation and rounding. `sums`:
// [warps][kBlockRows][width].
__device__ __forceinline__ void write_outputs(const GemvArguments& a, const float* sums, int width,
                                              int block, std::int64_t first, int count) {
  const int warps = static_cast<int>(blockDim.x) / 32;
  const auto total = [&](int row, int m) {
    float sum = 0.F;
    for (int w = 0; w < warps; ++w) sum += sums[(w * kGemvBlockRows + row) * width + m];
    return sum;
  };
  const int rows = a.gated ? kGemvBlockRows / 2 : kGemvBlockRows;
  const int begin = block * rows;
  const int end = a.gated ? a.up_begin : a.rows;
  for (int i = threadIdx.x; i < rows * count; i += blockDim.x) {
    const int m = i / rows;
    const int row = begin + i % rows;
    if (row >= end) continue;
    float y = finished(a, row, total(i % rows, m));
    if (a.gated) y = activate(a.kind, y) * finished(a, a.up_begin + row, total(rows + i % rows, m));
    int s = 0;
    while (s + 1 < a.segments && row >= a.out[s + 1].begin) ++s;
    const GemvOutput& out = a.out[s];
    store(out.data, out.type, (first + m) * out.width + row - out.begin, y);
  }
}

__device__ __forceinline__ GemvRows rows_of_lane(const GemvArguments& a, int block) {
  const int g = threadIdx.x % 32 / 4;
  GemvRows out;
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    int row;
    if (a.gated)
      row = min(block * (kGemvBlockRows / 2) + r % 2 * 8 + g, a.up_begin - 1) +
            (r < 2 ? 0 : a.up_begin);
    else
      row = min(block * kGemvBlockRows + r * 8 + g, a.rows - 1);
    out.codes[r] = a.matrix.codes + row * a.matrix.row_bytes + threadIdx.x % 4 * 16;
    out.scales[r] = static_cast<std::uint32_t>(row) * a.matrix.scale_stride;
  }
  return out;
}

/// Grid: (groups of 8 * kTiles rows of x, blocks of rows of the matrix), so that blocks that read
/// the same rows of the matrix run together.
template <class Form, int kTiles>
__global__ void __launch_bounds__(gemv_max_threads(Form::kGrouped), 1)
    gemv_kernel(const __grid_constant__ GemvArguments a) {
  extern __shared__ __align__(16) std::uint8_t shared[];
  constexpr int kWidth = 8 * kTiles;
  constexpr int kDepth = Form::kDepth;
  let_next_start();
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kWidth;
  const int count = static_cast<int>(min(static_cast<std::int64_t>(kWidth), a.x_rows - first));
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int warps = static_cast<int>(blockDim.x) / 32;
  const int g = threadIdx.x % 32 / 4;
  const int t = threadIdx.x % 4;
  const int steps = (a.chunks + warps - 1) / warps;
  const int step_columns = warps * Form::kChunk;
  const std::uint8_t* x[kTiles];
#pragma unroll
  for (int n = 0; n < kTiles; ++n)
    x[n] = shared + min(g + 8 * n, count - 1) * a.x_bytes + (warp * Form::kChunk + 8 * t) * 2;
  auto* const sums = reinterpret_cast<float*>(shared + a.sums_begin);
  bool fetched = false;  // all of x
  for (int block = static_cast<int>(blockIdx.y); block < a.blocks;
       block += static_cast<int>(gridDim.y)) {
    const GemvRows rows = rows_of_lane(a, block);
    GemvStage<Form> stages[kDepth];
#pragma unroll
    for (int d = 0; d + 1 < kDepth; ++d) load_stage<Form>(a, rows, warp + d * warps, stages[d]);
    if (!fetched) wait_for_inputs();
    GemvSums<kTiles> total;
    clear<kTiles>(total);
    int in_piece = 0;  // steps since x was fetched
    for (int begin = 0; begin < steps; begin += kDepth) {
#pragma unroll
      for (int d = 0; d < kDepth; ++d) {
        const int step = begin + d;
        if (step >= steps) break;
        load_stage<Form>(a, rows, warp + (step + kDepth - 1) * warps,
                         stages[(d + kDepth - 1) % kDepth]);
        if (!fetched && (in_piece * step_columns == a.piece || step == 0)) {
          __syncthreads();
          fetch_x(a, first, count, step * step_columns, shared);
          __syncthreads();
          in_piece = 0;
        }
        if (warp + step * warps < a.chunks) {
          const std::uint8_t* here[kTiles];
#pragma unroll
          for (int n = 0; n < kTiles; ++n) here[n] = x[n] + in_piece * step_columns * 2;
          multiply_stage<Form, kTiles>(a, stages[d], here, total);
        }
        ++in_piece;
      }
    }
    fetched = a.piece >= steps * step_columns && a.sums_begin > 0;
    __syncthreads();
#pragma unroll
    for (int r = 0; r < 4; ++r)
#pragma unroll
      for (int n = 0; n < kTiles; ++n) {
        const float* const two = &total[r / 2][n][r % 2 * 2];
        *reinterpret_cast<float2*>(sums + (warp * kGemvBlockRows + r * 8 + g) * kWidth + n * 8 +
                                   2 * t) = make_float2(two[0], two[1]);
      }
    __syncthreads();
    write_outputs(a, sums, kWidth, block, first, count);
  }
}

/// Launches one form for up to 8, or up to 16 rows of x at a time.
template <class Form>
void launch_form(const GemvArguments& a, const GemvLaunch& launch, cudaStream_t stream) {
  const auto run = [&](auto kernel) {
    if (launch.shared_bytes > kGemvStaticShared)
      check(
          cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kGemvMaxShared),
          "linear_stream");
    launch_early(kernel, "linear_stream", dim3(launch.passes, launch.grid_rows), launch.threads,
                 static_cast<std::size_t>(launch.shared_bytes), launch.early, stream, a);
  };
  if (launch.width == 8)
    run(gemv_kernel<Form, 1>);
  else
    run(gemv_kernel<Form, 2>);
}

}  // namespace tenon::cuda
