// Codes of an 8-bit cache as 16-bit operands of products. No code is rounded: both kinds fit into
// either 16-bit type, and the scales of int8 stay outside, with scores and weights.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_fp8.h>

#include <cstdint>

#include "backends/cuda/device/attention_mma.cuh"

namespace tenon::cuda {

struct Int8Code {
  static constexpr bool kScaled = true;
};
struct Float8Code {  // E4M3
  static constexpr bool kScaled = false;
};

/// The power of two that brings a row of bfloat16, whose largest size is given, into float16's
/// range: to between 2^14 and 2^15; and what undoes it.
struct HalfRange {
  float factor;
  float unit;
  __device__ explicit HalfRange(float largest) {
    const int exponent = __float_as_int(largest) >> 23;
    const int lifted = min(127 + 14 + 127 - exponent, 253);
    factor = __int_as_float(lifted << 23);
    unit = __int_as_float((254 - lifted) << 23);
  }
};

/// Which of four codes become {r[0] low, r[0] high, r[1] low, r[1] high}.
enum class CodeOrder : std::uint8_t {
  kRow,      ///< 0, 1, 2, 3
  kColumns,  ///< 0, 2, 1, 3: neighbours go to different operands
};

template <class Code, class T, CodeOrder kOrder>
struct WidenCodes;

template <CodeOrder kOrder>
struct WidenCodes<Int8Code, __half, kOrder> {
  __device__ static void run(std::uint32_t codes, std::uint32_t (&r)[2]) {
    // The code plus 128 in the low bits of 1024.
    const std::uint32_t lifted = codes ^ 0x80808080U;
    const bool row = kOrder == CodeOrder::kRow;
    r[0] = difference(__byte_perm(lifted, 0x64646464U, row ? 0x4140 : 0x4240));
    r[1] = difference(__byte_perm(lifted, 0x64646464U, row ? 0x4342 : 0x4341));
  }

 private:
  __device__ static std::uint32_t difference(std::uint32_t pair) {
    constexpr std::uint32_t kBase = 0x64806480U;  // 1152, twice
    const __half2 out =
        __hsub2(reinterpret_cast<const __half2&>(pair), reinterpret_cast<const __half2&>(kBase));
    return reinterpret_cast<const std::uint32_t&>(out);
  }
};

template <CodeOrder kOrder>
struct WidenCodes<Int8Code, __nv_bfloat16, kOrder> {
  __device__ static void run(std::uint32_t codes, std::uint32_t (&r)[2]) {
    const bool row = kOrder == CodeOrder::kRow;
    r[0] = difference(__byte_perm(codes, 0x43434343U, row ? 0x4140 : 0x4240));
    r[1] = difference(__byte_perm(codes, 0x43434343U, row ? 0x4342 : 0x4341));
  }

 private:
  // 0x43xx is 128 plus the code's low seven bits; with the sign bit alone it is 128 or 256.
  __device__ static std::uint32_t difference(std::uint32_t pair) {
    const std::uint32_t low = pair & 0xFF7FFF7FU;
    const std::uint32_t base = pair & 0xFF80FF80U;
    const __nv_bfloat162 out = __hsub2(reinterpret_cast<const __nv_bfloat162&>(low),
                                       reinterpret_cast<const __nv_bfloat162&>(base));
    return reinterpret_cast<const std::uint32_t&>(out);
  }
};

template <CodeOrder kOrder>
struct WidenCodes<Float8Code, __half, kOrder> {
  __device__ static void run(std::uint32_t codes, std::uint32_t (&r)[2]) {
    const std::uint32_t ordered =
        kOrder == CodeOrder::kRow ? codes : __byte_perm(codes, 0U, 0x3120);
    r[0] = widen(ordered & 0xFFFFU);
    r[1] = widen(ordered >> 16);
  }

 private:
  __device__ static std::uint32_t widen(std::uint32_t two) {
    const __half2_raw out =
        __nv_cvt_fp8x2_to_halfraw2(static_cast<__nv_fp8x2_storage_t>(two), __NV_E4M3);
    return static_cast<std::uint32_t>(out.x) | static_cast<std::uint32_t>(out.y) << 16;
  }
};

template <CodeOrder kOrder>
struct WidenCodes<Float8Code, __nv_bfloat16, kOrder> {
  __device__ static void run(std::uint32_t codes, std::uint32_t (&r)[2]) {
    WidenCodes<Float8Code, __half, kOrder>::run(codes, r);
#pragma unroll
    for (std::uint32_t& pair : r) {
      const float2 both = __half22float2(reinterpret_cast<const __half2&>(pair));
      pair = pack<__nv_bfloat16>(both.x, both.y);
    }
  }
};

template <class Code, class T, CodeOrder kOrder>
__device__ inline void widen_codes(std::uint32_t codes, std::uint32_t (&r)[2]) {
  WidenCodes<Code, T, kOrder>::run(codes, r);
}

}  // namespace tenon::cuda
