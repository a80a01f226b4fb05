// Four neighbouring elements of a row at a time: fetched as they are stored, so that several
// fetches are on their way before the first is widened.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cuda/device/element.h"

namespace tenon::cuda {

/// float32, float16 or bfloat16; those in 16 bits have two words. `at` is a multiple of 4.
__device__ __forceinline__ uint4 fetch_four(const void* data, DataType type, std::int64_t at) {
  if (type == DataType::kFloat32)
    return *reinterpret_cast<const uint4*>(static_cast<const float*>(data) + at);
  const uint2 raw = *reinterpret_cast<const uint2*>(static_cast<const std::uint16_t*>(data) + at);
  return make_uint4(raw.x, raw.y, 0, 0);
}

__device__ __forceinline__ float4 widen_four(uint4 raw, DataType type) {
  if (type == DataType::kFloat32) return reinterpret_cast<const float4&>(raw);
  float2 low;
  float2 high;
  if (type == DataType::kFloat16) {
    low = __half22float2(reinterpret_cast<const __half2&>(raw.x));
    high = __half22float2(reinterpret_cast<const __half2&>(raw.y));
  } else {
    low = __bfloat1622float2(reinterpret_cast<const __nv_bfloat162&>(raw.x));
    high = __bfloat1622float2(reinterpret_cast<const __nv_bfloat162&>(raw.y));
  }
  return make_float4(low.x, low.y, high.x, high.y);
}

/// float32, or rounded to nearest even: float16, bfloat16, float8_e4m3 (saturates at ±448).
__device__ __forceinline__ void store_four(void* data, DataType type, std::int64_t at, float4 x) {
  if (type == DataType::kFloat32) {
    *reinterpret_cast<float4*>(static_cast<float*>(data) + at) = x;
    return;
  }
  if (type == DataType::kFloat8E4M3) {
    const auto code = [](float value) {
      return static_cast<std::uint32_t>(__nv_cvt_float_to_fp8(value, __NV_SATFINITE, __NV_E4M3));
    };
    *reinterpret_cast<std::uint32_t*>(static_cast<std::uint8_t*>(data) + at) =
        code(x.x) | code(x.y) << 8 | code(x.z) << 16 | code(x.w) << 24;
    return;
  }
  uint2 raw;
  if (type == DataType::kFloat16) {
    const __half2 low = __floats2half2_rn(x.x, x.y);
    const __half2 high = __floats2half2_rn(x.z, x.w);
    raw = make_uint2(reinterpret_cast<const std::uint32_t&>(low),
                     reinterpret_cast<const std::uint32_t&>(high));
  } else {
    const __nv_bfloat162 low = __floats2bfloat162_rn(x.x, x.y);
    const __nv_bfloat162 high = __floats2bfloat162_rn(x.z, x.w);
    raw = make_uint2(reinterpret_cast<const std::uint32_t&>(low),
                     reinterpret_cast<const std::uint32_t&>(high));
  }
  *reinterpret_cast<uint2*>(static_cast<std::uint16_t*>(data) + at) = raw;
}

}  // namespace tenon::cuda
