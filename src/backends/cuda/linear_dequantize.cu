// Rows of a packed matrix as bfloat16, for products that are bound by arithmetic.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/cuda_api.h"
#include "backends/cuda/device/dequant.cuh"
#include "backends/cuda/device/element.h"
#include "backends/cuda/linear_stream.h"

namespace tenon::cuda {
namespace {

constexpr int kThreads = 256;

// A thread has 16 bytes of a line: runs of eight columns.
template <CodeKind kKind>
__global__ void __launch_bounds__(kThreads)
    dequantize_kernel(PackedMatrix m, std::int64_t begin, std::int64_t rows, __nv_bfloat16* out) {
  constexpr int kLine = kLineColumns<kKind>;
  // 32 bits: what is dequantized at a time fits in L2, and a device divides 64 bits slowly.
  const auto pieces = static_cast<std::uint32_t>(m.row_bytes / 16);
  const std::uint32_t at = blockIdx.x * kThreads + threadIdx.x;
  if (at >= static_cast<std::uint32_t>(rows) * pieces) return;
  const std::uint32_t row = at / pieces;
  const std::uint32_t piece = at - row * pieces;
  const auto lane = static_cast<std::int32_t>(piece % 4);
  const auto line = static_cast<std::int32_t>(piece / 4);
  const std::int64_t source = begin + row;
  const float bias = kKind == CodeKind::kInt4 ? __uint_as_float(m.code_offset << 16) : 0.F;
  const uint4 raw = *reinterpret_cast<const uint4*>(m.codes + source * m.row_bytes + piece * 16);
#pragma unroll
  for (int run = 0; run < kLine / 32; ++run) {
    const std::int32_t column = line * kLine + run * 32 + lane * 8;
    if (column >= m.columns) continue;
    const std::int32_t group = m.step == ScaleStep::kRow   ? 0
                               : m.step == ScaleStep::kRun ? column / 32
                                                           : column / 128 >> m.line_shift;
    const std::int64_t entry = source * m.scale_stride + group;
    const float scale = m.scale == nullptr ? 1.F : load(m.scale, m.scale_type, entry);
    const float minimum = m.minimum == nullptr ? 0.F : load(m.minimum, m.scale_type, entry);
    std::uint32_t pairs[4];
    Unpack<kKind>::run(raw, run, pairs);
    uint4 eight;
    auto* const words = reinterpret_cast<std::uint32_t*>(&eight);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float2 two = __bfloat1622float2(reinterpret_cast<const __nv_bfloat162&>(pairs[i]));
      words[i] = bits_of(__floats2bfloat162_rn((two.x - bias) * scale + minimum,
                                               (two.y - bias) * scale + minimum));
    }
    *reinterpret_cast<uint4*>(out + static_cast<std::int64_t>(row) * m.columns + column) = eight;
  }
}

}  // namespace

void launch_dequantize(const PackedMatrix& matrix, std::int64_t begin, std::int64_t rows, void* out,
                       cudaStream_t stream) {
  const std::int64_t threads = rows * matrix.row_bytes / 16;
  if (threads == 0) return;
  const auto grid = static_cast<unsigned>((threads + kThreads - 1) / kThreads);
  auto* const to = static_cast<__nv_bfloat16*>(out);
  if (matrix.kind == CodeKind::kInt4)
    dequantize_kernel<CodeKind::kInt4><<<grid, kThreads, 0, stream>>>(matrix, begin, rows, to);
  else if (matrix.kind == CodeKind::kInt8)
    dequantize_kernel<CodeKind::kInt8><<<grid, kThreads, 0, stream>>>(matrix, begin, rows, to);
  else
    dequantize_kernel<CodeKind::kFloat8><<<grid, kThreads, 0, stream>>>(matrix, begin, rows, to);
  check_launch("linear_dequantize");
}

}  // namespace tenon::cuda
