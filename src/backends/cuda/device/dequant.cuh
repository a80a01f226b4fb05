// Packed codes to 16-bit operands, in registers. Codes become small integers (or fp8 numbers),
// which bfloat16 holds exactly; scales are applied to fp32 sums. linear_packed.h has the layouts.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include <cstdint>

#include "backends/cuda/linear_packed.h"

namespace tenon::cuda {

template <CodeKind kKind>
inline constexpr int kLineColumns = line_columns(kKind);

__device__ __forceinline__ std::uint32_t bits_of(__nv_bfloat162 x) {
  return reinterpret_cast<const std::uint32_t&>(x);
}

/// Differences of two pairs of bfloat16.
__device__ __forceinline__ std::uint32_t subtract_pairs(std::uint32_t a, std::uint32_t b) {
  return bits_of(__hsub2(reinterpret_cast<const __nv_bfloat162&>(a),
                         reinterpret_cast<const __nv_bfloat162&>(b)));
}

/// (x & kMask) | kBits in one instruction: without being told, compilers take two.
template <std::uint32_t kMask, std::uint32_t kBits>
__device__ __forceinline__ std::uint32_t masked_in(std::uint32_t x) {
  std::uint32_t out;
  asm("lop3.b32 %0, %1, %2, %3, 0xEA;" : "=r"(out) : "r"(x), "n"(kMask), "n"(kBits));
  return out;
}

// The lane's eight elements of run `run` (32 columns) of a 16-byte load, as four pairs.
template <CodeKind kKind>
struct Unpack;

template <>
struct Unpack<CodeKind::k16Bit> {
  static __device__ __forceinline__ void run(const uint4& raw, int, std::uint32_t (&pairs)[4]) {
    pairs[0] = raw.x;
    pairs[1] = raw.y;
    pairs[2] = raw.z;
    pairs[3] = raw.w;
  }
};

template <>
struct Unpack<CodeKind::kFloat8> {
  static __device__ __forceinline__ std::uint32_t pair(std::uint32_t two) {
    const __half2 half(
        __nv_cvt_fp8x2_to_halfraw2(static_cast<__nv_fp8x2_storage_t>(two & 0xFFFFU), __NV_E4M3));
    return bits_of(__float22bfloat162_rn(__half22float2(half)));
  }
  static __device__ __forceinline__ void run(const uint4& raw, int run, std::uint32_t (&pairs)[4]) {
    const std::uint32_t low = run == 0 ? raw.x : raw.z;
    const std::uint32_t high = run == 0 ? raw.y : raw.w;
    pairs[0] = pair(low);
    pairs[1] = pair(low >> 16);
    pairs[2] = pair(high);
    pairs[3] = pair(high >> 16);
  }
};

// A byte b of two's complement is (128 + low seven bits) - (128, or 256 where it is negative), and
// both are a bfloat16 with the bits put into 128.0 = 0x4300.
template <>
struct Unpack<CodeKind::kInt8> {
  static __device__ __forceinline__ std::uint32_t pair(std::uint32_t two) {
    return subtract_pairs(masked_in<0x007F007FU, 0x43004300U>(two),
                          masked_in<0x00800080U, 0x43004300U>(two));
  }
  static __device__ __forceinline__ void run(const uint4& raw, int run, std::uint32_t (&pairs)[4]) {
    const std::uint32_t low = run == 0 ? raw.x : raw.z;
    const std::uint32_t high = run == 0 ? raw.y : raw.w;
    pairs[0] = pair(low);
    pairs[1] = pair(low >> 8);
    pairs[2] = pair(high);
    pairs[3] = pair(high >> 8);
  }
};

// 128 + code, which has the code in its last bits: whoever multiplies with it takes 128 and the
// offset off the sums.
template <>
struct Unpack<CodeKind::kInt4> {
  static __device__ __forceinline__ void run(const uint4& raw, int run, std::uint32_t (&pairs)[4]) {
    const std::uint32_t eight = run == 0 ? raw.x : run == 1 ? raw.y : run == 2 ? raw.z : raw.w;
#pragma unroll
    for (int i = 0; i < 4; ++i) pairs[i] = masked_in<0x000F000FU, 0x43004300U>(eight >> (4 * i));
  }
};

}  // namespace tenon::cuda
