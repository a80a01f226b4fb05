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
// lies within 2^-22 of its last bit from the middle between two, which none that decides a code
// does, for bfloat16 numbers and scales that are one of them over 448 (all pairs were tried; within
// the range below, where nothing that reaches a code underflows).
struct Divisor {
  float divisor;
  float reciprocal;
  bool usual;
};
__device__ __forceinline__ Divisor divisor_of(float scale) {
  const float divisor = scale == 0.F ? 1.F : scale;
  return {divisor, __frcp_rn(divisor), divisor >= 0x1p-100F && divisor <= 0x1p100F};
}
template <bool kUsual>
__device__ __forceinline__ float divided(float x, const Divisor& by) {
  if (!kUsual) return __fdiv_rn(x, by.divisor);
  const float quotient = __fmul_rn(x, by.reciprocal);
  const float error = __fmaf_rn(quotient, by.divisor, -x);
  return __fmaf_rn(error, -by.reciprocal, quotient);  // zeros keep their sign
}

// Codes of eight elements, two a word, the first in the low byte.
template <bool kUsual>
__device__ __forceinline__ void codes_of(const uint4& eight, const Divisor& by,
                                         std::uint32_t (&codes)[4]) {
  const auto* const x = reinterpret_cast<const __nv_bfloat162*>(&eight);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float2 two = __bfloat1622float2(x[i]);
    codes[i] = __nv_cvt_float2_to_fp8x2(
        make_float2(divided<kUsual>(two.x, by), divided<kUsual>(two.y, by)), __NV_SATFINITE,
        __NV_E4M3);
  }
}

// The larger magnitude of each of two columns, so far and among eight more elements.
__device__ __forceinline__ __nv_bfloat162 larger(__nv_bfloat162 largest, const uint4& eight) {
  const auto* const x = reinterpret_cast<const __nv_bfloat162*>(&eight);
#pragma unroll
  for (int i = 0; i < 4; ++i) largest = __hmax2(largest, __habs2(x[i]));
  return largest;
}

template <bool kWide>
__device__ __forceinline__ void write_codes(const Float8Rows& a, std::int64_t row, int eight,
                                            const uint4& raw, const Divisor& by) {
  std::uint32_t codes[4];
  if (by.usual)
    codes_of<true>(raw, by, codes);
  else
    codes_of<false>(raw, by, codes);
  if (kWide) {
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

// A block has a row, a thread eight neighbouring columns at a time, kKept of them in registers:
// rows of so many columns are read once. kWide: codes as bfloat16.
template <int kKept, bool kWide>
__global__ void __launch_bounds__(kThreads, kKept > 4 ? 3 : 4) round_rows_kernel(Float8Rows a) {
  __shared__ float shared[kThreads / 32];
  let_next_start();
  wait_for_inputs();
  const std::int64_t row = blockIdx.x;
  const auto* const x =
      reinterpret_cast<const uint4*>(static_cast<const __nv_bfloat16*>(a.x) + row * a.columns);
  const int eights = static_cast<int>(a.columns / 8);
  uint4 kept[kKept];
  __nv_bfloat162 two = __floats2bfloat162_rn(0.F, 0.F);
#pragma unroll
  for (int i = 0; i < kKept; ++i)  // past the last the last again, which changes no maximum
    kept[i] = x[min(static_cast<int>(threadIdx.x) + i * kThreads, eights - 1)];
#pragma unroll
  for (int i = 0; i < kKept; ++i) two = larger(two, kept[i]);
  const int others = kKept == kMostKept ? static_cast<int>(threadIdx.x) + kKept * kThreads : eights;
  for (int at = others; at < eights; at += kThreads) two = larger(two, x[at]);
  const float largest = fmaxf(__low2float(two), __high2float(two));
  const float scale = __fdiv_rn(block_max<kThreads>(largest, shared), kLargest);
  if (threadIdx.x == 0) a.scales[row] = scale;
  const Divisor by = divisor_of(scale);
#pragma unroll
  for (int i = 0; i < kKept; ++i) {
    const int at = static_cast<int>(threadIdx.x) + i * kThreads;
    if (at < eights) write_codes<kWide>(a, row, at, kept[i], by);
  }
  for (int at = others; at < eights; at += kThreads) write_codes<kWide>(a, row, at, x[at], by);
  if (kWide) return;
  // The last line's columns past the last.
  auto* const codes = static_cast<std::uint8_t*>(a.codes) + row * a.row_bytes;
  for (int at = eights + static_cast<int>(threadIdx.x); at < a.row_bytes / 8; at += kThreads)
    *reinterpret_cast<uint2*>(codes + words_of(at) * 4) = make_uint2(0, 0);
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
  const bool wide = rows.row_bytes == 0;
  if (each <= 2)
    wide ? run(round_rows_kernel<2, true>) : run(round_rows_kernel<2, false>);
  else if (each <= 4)
    wide ? run(round_rows_kernel<4, true>) : run(round_rows_kernel<4, false>);
  else
    wide ? run(round_rows_kernel<kMostKept, true>) : run(round_rows_kernel<kMostKept, false>);
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
