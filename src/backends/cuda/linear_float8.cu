// Rounding rows of x to fp8 codes, and what sums of codes become.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/cuda_api.h"
#include "backends/cuda/device/activate.h"
#include "backends/cuda/device/element.h"
#include "backends/cuda/device/four_elements.cuh"
#include "backends/cuda/device/launch_early.cuh"
#include "backends/cuda/device/reduce.h"
#include "backends/cuda/linear_float8.h"

namespace tenon::cuda {
namespace {

constexpr int kThreads = 256;
constexpr float kLargest = 448.F;
constexpr int kMostKept = 8;  // eights of a row that a thread keeps in registers

// Which two words of a packed row (linear_packed.h) hold columns 8 eight … 8 eight + 7.
__device__ __forceinline__ int words_of(int eight) {
  return eight / 8 * 16 + eight % 4 * 4 + eight % 8 / 4 * 2;
}

// Division of a row's elements by its scale. The codes are those that rounded quotients have: the
// product with the reciprocal, corrected by its exact error, is a rounded quotient but where that
// lies within 2^-22 of its last bit from the middle between two, which no middle between two codes
// is, for bfloat16 numbers and scales that are one of them over 448 (all pairs were tried; within
// the range below, where nothing that reaches a code underflows).
struct Divisor {
  float divisor;
  float reciprocal;  // 0: to be divided by
};
__device__ __forceinline__ Divisor divisor_of(float scale) {
  const float divisor = scale == 0.F ? 1.F : scale;
  const bool usual = divisor >= 0x1p-100F && divisor <= 0x1p100F;
  return {divisor, usual ? __frcp_rn(divisor) : 0.F};
}
__device__ __forceinline__ float divided(float x, const Divisor& by) {
  if (by.reciprocal == 0.F) return __fdiv_rn(x, by.divisor);
  const float quotient = __fmul_rn(x, by.reciprocal);
  const float error = __fmaf_rn(quotient, by.divisor, -x);
  return __fmaf_rn(error, -by.reciprocal, quotient);  // zeros keep their sign
}

// Codes of two neighbours, the first in the low byte.
__device__ __forceinline__ std::uint32_t codes_of(__nv_bfloat162 x, const Divisor& by) {
  const float2 two = __bfloat1622float2(x);
  return __nv_cvt_float2_to_fp8x2(make_float2(divided(two.x, by), divided(two.y, by)),
                                  __NV_SATFINITE, __NV_E4M3);
}

__device__ __forceinline__ float largest_of(const uint4& eight) {
  const auto* const x = reinterpret_cast<const __nv_bfloat162*>(&eight);
  float largest = 0.F;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float2 two = __bfloat1622float2(x[i]);
    largest = fmaxf(largest, fmaxf(fabsf(two.x), fabsf(two.y)));
  }
  return largest;
}

__device__ __forceinline__ void write_codes(const Float8Rows& a, std::int64_t row, int eight,
                                            const uint4& raw, const Divisor& by) {
  const auto* const x = reinterpret_cast<const __nv_bfloat162*>(&raw);
  std::uint32_t codes[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) codes[i] = codes_of(x[i], by);
  if (a.row_bytes == 0) {
    uint4 out;
    auto* const wide = reinterpret_cast<__nv_bfloat162*>(&out);
#pragma unroll
    for (int i = 0; i < 4; ++i)  // exact
      wide[i] = __floats2bfloat162_rn(
          fp8_to_float(static_cast<std::uint8_t>(codes[i] & 0xFFU), __NV_E4M3),
          fp8_to_float(static_cast<std::uint8_t>(codes[i] >> 8), __NV_E4M3));
    reinterpret_cast<uint4*>(static_cast<__nv_bfloat16*>(a.codes) + row * a.columns)[eight] = out;
    return;
  }
  auto* const at = static_cast<std::uint8_t*>(a.codes) + row * a.row_bytes;
  *reinterpret_cast<uint2*>(at + words_of(eight) * 4) =
      make_uint2(codes[0] | codes[1] << 16, codes[2] | codes[3] << 16);
}

// A block has a row, a thread eight neighbouring columns at a time, up to kKept of them in
// registers: rows of so many columns are read once.
template <int kKept>
__global__ void __launch_bounds__(kThreads) round_rows_kernel(Float8Rows a) {
  __shared__ float shared[kThreads / 32];
  let_next_start();
  wait_for_inputs();
  const std::int64_t row = blockIdx.x;
  const auto* const x =
      reinterpret_cast<const uint4*>(static_cast<const __nv_bfloat16*>(a.x) + row * a.columns);
  const int eights = static_cast<int>(a.columns / 8);
  uint4 kept[kKept];
  float largest = 0.F;
#pragma unroll
  for (int i = 0; i < kKept; ++i) {
    const int at = static_cast<int>(threadIdx.x) + i * kThreads;
    kept[i] = make_uint4(0, 0, 0, 0);
    if (at < eights) kept[i] = x[at];
  }
#pragma unroll
  for (int i = 0; i < kKept; ++i) largest = fmaxf(largest, largest_of(kept[i]));
  for (int at = static_cast<int>(threadIdx.x) + kKept * kThreads; at < eights; at += kThreads)
    largest = fmaxf(largest, largest_of(x[at]));
  const float scale = __fdiv_rn(block_max<kThreads>(largest, shared), kLargest);
  if (threadIdx.x == 0) a.scales[row] = scale;
  const Divisor by = divisor_of(scale);
#pragma unroll
  for (int i = 0; i < kKept; ++i) {
    const int at = static_cast<int>(threadIdx.x) + i * kThreads;
    if (at < eights) write_codes(a, row, at, kept[i], by);
  }
  for (int at = static_cast<int>(threadIdx.x) + kKept * kThreads; at < eights; at += kThreads)
    write_codes(a, row, at, x[at], by);
  // The last line's columns past the last.
  for (int at = eights + static_cast<int>(threadIdx.x); at < a.row_bytes / 8; at += kThreads)
    write_codes(a, row, at, make_uint4(0, 0, 0, 0), by);
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

__device__ __forceinline__ float4 finished_four(const Float8Epilogue& a, std::int64_t row,
                                                std::int64_t column) {
  float4 y = load_four(a.sums, row * a.width + column);
  if (a.w_scales != nullptr) y = multiplied(y, load_four(a.w_scales, column));
  const float scale = a.x_scales[row];
  y = multiplied(y, make_float4(scale, scale, scale, scale));
  return a.bias == nullptr ? y : added(y, load_four(a.bias, column));
}

// The same, four columns a thread.
__global__ void __launch_bounds__(kThreads) epilogue_fours_kernel(const Float8Epilogue a) {
  const std::int64_t column = 4 * (blockIdx.x * static_cast<std::int64_t>(kThreads) + threadIdx.x);
  const std::int64_t row = blockIdx.y;
  if (column >= (a.gated ? a.width / 2 : a.width)) return;
  float4 y = finished_four(a, row, column);
  if (a.gated) y = gated_four(a.kind, y, finished_four(a, row, a.width / 2 + column));
  int s = 0;
  while (s + 1 < a.segments && column >= a.out[s + 1].begin) ++s;
  const GemvOutput& out = a.out[s];
  store_four(out.data, out.type, row * out.width + column - out.begin, y);
}

bool has_fours(const Float8Epilogue& a) {
  bool fours = a.width % (a.gated ? 8 : 4) == 0;
  for (int s = 0; s < a.segments; ++s) fours = fours && a.out[s].width % 4 == 0;
  return fours;
}

}  // namespace

void launch_round_rows(const Float8Rows& rows, bool early, cudaStream_t stream) {
  if (rows.rows == 0) return;
  const auto run = [&](auto kernel) {
    launch_early(kernel, "round_rows", dim3(static_cast<unsigned>(rows.rows)), kThreads, 0, early,
                 stream, rows);
  };
  const std::int64_t each = (rows.columns / 8 + kThreads - 1) / kThreads;
  if (each <= 2)
    run(round_rows_kernel<2>);
  else if (each <= 4)
    run(round_rows_kernel<4>);
  else
    run(round_rows_kernel<kMostKept>);
}

void launch_float8_epilogue(const Float8Epilogue& epilogue, cudaStream_t stream) {
  const std::int64_t columns = epilogue.gated ? epilogue.width / 2 : epilogue.width;
  if (epilogue.rows == 0 || columns == 0) return;
  const bool fours = has_fours(epilogue);
  const std::int64_t threads = fours ? columns / 4 : columns;
  const dim3 grid(static_cast<unsigned>((threads + kThreads - 1) / kThreads),
                  static_cast<unsigned>(epilogue.rows));
  if (fours)
    epilogue_fours_kernel<<<grid, kThreads, 0, stream>>>(epilogue);
  else
    epilogue_kernel<<<grid, kThreads, 0, stream>>>(epilogue);
  check_launch("float8_epilogue");
}

}  // namespace tenon::cuda
