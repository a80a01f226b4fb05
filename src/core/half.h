// Conversions between float and the 16- and 8-bit float kinds, round to nearest even.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "core/dtype.h"

namespace tenon {

inline float bf16_to_float(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

inline std::uint16_t float_to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U)  // NaN: keep it quiet
    return static_cast<std::uint16_t>((bits >> 16) | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

float fp16_to_float(std::uint16_t bits);
std::uint16_t float_to_fp16(float value);
float fp8_e4m3_to_float(std::uint8_t bits);
std::uint8_t float_to_fp8_e4m3(float value);  ///< saturates at ±448
float fp8_e5m2_to_float(std::uint8_t bits);

/// `count` elements of any floating-point or integer type as float.
void convert_to_float(DataType from, const void* source, float* out, std::size_t count);
/// `count` floats to float32, float16, bfloat16 or float8_e4m3; throws for other types.
void convert_from_float(DataType to, const float* source, void* out, std::size_t count);

}  // namespace tenon
