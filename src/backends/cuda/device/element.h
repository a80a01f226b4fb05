// One element of any floating-point or integer kind as fp32, on the device. Plain kernels take the
// kind as a run-time value: the branch is the same for a whole grid.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include <cstdint>

#include "tenon/types.h"

namespace tenon::cuda {

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(__half x) { return __half2float(x); }
__device__ inline float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }

template <class T>
__device__ inline T from_float(float x);
template <>
__device__ inline float from_float<float>(float x) {
  return x;
}
template <>
__device__ inline __half from_float<__half>(float x) {
  return __float2half_rn(x);
}
template <>
__device__ inline __nv_bfloat16 from_float<__nv_bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}

/// OCP E4M3 and E5M2: bits to a number.
__device__ inline float fp8_to_float(std::uint8_t bits, __nv_fp8_interpretation_t kind) {
  return __half2float(__half(__nv_cvt_fp8_to_halfraw(bits, kind)));
}

__device__ inline float load(const void* data, DataType type, std::int64_t index) {
  switch (type) {
    case DataType::kFloat32: return static_cast<const float*>(data)[index];
    case DataType::kFloat16: return __half2float(static_cast<const __half*>(data)[index]);
    case DataType::kBFloat16:
      return __bfloat162float(static_cast<const __nv_bfloat16*>(data)[index]);
    case DataType::kFloat8E4M3:
      return fp8_to_float(static_cast<const std::uint8_t*>(data)[index], __NV_E4M3);
    case DataType::kFloat8E5M2:
      return fp8_to_float(static_cast<const std::uint8_t*>(data)[index], __NV_E5M2);
    case DataType::kFloat64: return static_cast<float>(static_cast<const double*>(data)[index]);
    case DataType::kInt8: return static_cast<float>(static_cast<const std::int8_t*>(data)[index]);
    case DataType::kInt32: return static_cast<float>(static_cast<const std::int32_t*>(data)[index]);
    default: return static_cast<float>(static_cast<const std::uint8_t*>(data)[index]);
  }
}

/// float32, float16 or bfloat16, rounded to nearest even; float8_e4m3 saturates at ±448.
__device__ inline void store(void* data, DataType type, std::int64_t index, float value) {
  switch (type) {
    case DataType::kFloat16: static_cast<__half*>(data)[index] = __float2half_rn(value); return;
    case DataType::kBFloat16:
      static_cast<__nv_bfloat16*>(data)[index] = __float2bfloat16_rn(value);
      return;
    case DataType::kFloat8E4M3:
      static_cast<std::uint8_t*>(data)[index] =
          __nv_cvt_float_to_fp8(value, __NV_SATFINITE, __NV_E4M3);
      return;
    default: static_cast<float*>(data)[index] = value; return;
  }
}

}  // namespace tenon::cuda
