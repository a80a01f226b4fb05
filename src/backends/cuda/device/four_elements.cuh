// Four, or eight, neighbouring elements of a row at a time.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cuda/device/element.h"

namespace tenon::cuda {

/// Of float16 or bfloat16.
__device__ __forceinline__ float4 widened(DataType type, uint2 raw) {
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
/// Rounded to nearest even: float16 or bfloat16.
__device__ __forceinline__ uint2 narrowed(DataType type, float4 x) {
  if (type == DataType::kFloat16) {
    const __half2 low = __floats2half2_rn(x.x, x.y);
    const __half2 high = __floats2half2_rn(x.z, x.w);
    return make_uint2(reinterpret_cast<const std::uint32_t&>(low),
                      reinterpret_cast<const std::uint32_t&>(high));
  }
  const __nv_bfloat162 low = __floats2bfloat162_rn(x.x, x.y);
  const __nv_bfloat162 high = __floats2bfloat162_rn(x.z, x.w);
  return make_uint2(reinterpret_cast<const std::uint32_t&>(low),
                    reinterpret_cast<const std::uint32_t&>(high));
}

/// float32, float16 or bfloat16. `at` is a multiple of 4.
__device__ __forceinline__ float4 load_four(const void* data, DataType type, std::int64_t at) {
  if (type == DataType::kFloat32)
    return *reinterpret_cast<const float4*>(static_cast<const float*>(data) + at);
  return widened(type,
                 *reinterpret_cast<const uint2*>(static_cast<const std::uint16_t*>(data) + at));
}

__device__ __forceinline__ float4 load_four(const float* data, std::int64_t at) {
  return *reinterpret_cast<const float4*>(data + at);
}
__device__ __forceinline__ float4 added(float4 a, float4 b) {
  return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}
__device__ __forceinline__ float4 multiplied(float4 a, float4 b) {
  return make_float4(a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w);
}

/// float32, or rounded to nearest even: float16 or bfloat16.
__device__ __forceinline__ void store_four(void* data, DataType type, std::int64_t at, float4 x) {
  if (type == DataType::kFloat32) {
    *reinterpret_cast<float4*>(static_cast<float*>(data) + at) = x;
    return;
  }
  *reinterpret_cast<uint2*>(static_cast<std::uint16_t*>(data) + at) = narrowed(type, x);
}

struct Eight {
  float4 low;
  float4 high;
};
__device__ __forceinline__ Eight widened(DataType type, uint4 raw) {
  return {widened(type, make_uint2(raw.x, raw.y)), widened(type, make_uint2(raw.z, raw.w))};
}
/// float16 or bfloat16: 16 bytes at once. `at` is a multiple of 8.
__device__ __forceinline__ void store_eight(void* data, DataType type, std::int64_t at,
                                            const Eight& x) {
  const uint2 low = narrowed(type, x.low);
  const uint2 high = narrowed(type, x.high);
  *reinterpret_cast<uint4*>(static_cast<std::uint16_t*>(data) + at) =
      make_uint4(low.x, low.y, high.x, high.y);
}

}  // namespace tenon::cuda
