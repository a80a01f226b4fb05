// Rounding rows of x to fp8 codes, and what sums of codes become.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/cuda_api.h"
#include "backends/cuda/device/activate.h"
#include "backends/cuda/device/element.h"
#include "backends/cuda/device/reduce.h"
#include "backends/cuda/linear_float8.h"

namespace tenon::cuda {
namespace {

constexpr int kThreads = 256;
constexpr float kLargest = 448.F;

// First column, within its line of 64, of word `word` (0 … 15) of packed fp8: linear_packed.h.
__device__ __forceinline__ int column_of_word(int word) {
  const int lane = word / 4;
  const int part = word % 4;
  return 32 * (part / 2) + 8 * lane + 4 * (part % 2);
}

__device__ __forceinline__ std::uint8_t code_of(float x, float divisor) {
  return __nv_cvt_float_to_fp8(__fdiv_rn(x, divisor), __NV_SATFINITE, __NV_E4M3);
}

// A block has a row.
__global__ void __launch_bounds__(kThreads) round_rows_kernel(Float8Rows a) {
  __shared__ float shared[kThreads / 32];
  const std::int64_t row = blockIdx.x;
  const auto* const x = static_cast<const __nv_bfloat16*>(a.x) + row * a.columns;
  float largest = 0.F;
  for (std::int64_t i = threadIdx.x; i < a.columns; i += kThreads)
    largest = fmaxf(largest, fabsf(__bfloat162float(x[i])));
  const float scale = __fdiv_rn(block_max<kThreads>(largest, shared), kLargest);
  if (threadIdx.x == 0) a.scales[row] = scale;
  const float divisor = scale == 0.F ? 1.F : scale;
  if (a.row_bytes == 0) {
    auto* const codes = static_cast<__nv_bfloat16*>(a.codes) + row * a.columns;
    for (std::int64_t i = threadIdx.x; i < a.columns; i += kThreads)
      codes[i] = __float2bfloat16_rn(
          fp8_to_float(code_of(__bfloat162float(x[i]), divisor), __NV_E4M3));  // exact
    return;
  }
  auto* const words =
      reinterpret_cast<std::uint32_t*>(static_cast<std::uint8_t*>(a.codes) + row * a.row_bytes);
  for (std::int64_t w = threadIdx.x; w < a.row_bytes / 4; w += kThreads) {
    const std::int64_t column = w / 16 * 64 + column_of_word(static_cast<int>(w % 16));
    std::uint32_t word = 0;
    // Columns are a multiple of 8: a word is there as a whole.
    for (int i = 0; i < 4 && column < a.columns; ++i)
      word |= static_cast<std::uint32_t>(code_of(__bfloat162float(x[column + i]), divisor))
              << (8 * i);
    words[w] = word;
  }
}

__device__ __forceinline__ float finished(const Float8Epilogue& a, std::int64_t row,
                                          std::int64_t column) {
  float y = a.sums[row * a.width + column];
  if (a.w_scales != nullptr) y *= a.w_scales[column];
  y *= a.x_scales[row];
  return a.bias == nullptr ? y : y + a.bias[column];
}

__global__ void __launch_bounds__(kThreads) epilogue_kernel(const Float8Epilogue a) {
  const std::int64_t column = blockIdx.x * static_cast<std::int64_t>(kThreads) + threadIdx.x;
  const std::int64_t row = blockIdx.y;
  if (column >= (a.gated ? a.width / 2 : a.width)) return;
  float y = finished(a, row, column);
  if (a.gated) y = activate(a.kind, y) * finished(a, row, a.width / 2 + column);
  int s = 0;
  while (s + 1 < a.segments && column >= a.out[s + 1].begin) ++s;
  const GemvOutput& out = a.out[s];
  store(out.data, out.type, row * out.width + column - out.begin, y);
}

}  // namespace

void launch_round_rows(const Float8Rows& rows, cudaStream_t stream) {
  if (rows.rows == 0) return;
  round_rows_kernel<<<static_cast<unsigned>(rows.rows), kThreads, 0, stream>>>(rows);
  check_launch("round_rows");
}

void launch_float8_epilogue(const Float8Epilogue& epilogue, cudaStream_t stream) {
  const std::int64_t columns = epilogue.gated ? epilogue.width / 2 : epilogue.width;
  if (epilogue.rows == 0 || columns == 0) return;
  const dim3 grid(static_cast<unsigned>((columns + kThreads - 1) / kThreads),
                  static_cast<unsigned>(epilogue.rows));
  epilogue_kernel<<<grid, kThreads, 0, stream>>>(epilogue);
  check_launch("float8_epilogue");
}

}  // namespace tenon::cuda
