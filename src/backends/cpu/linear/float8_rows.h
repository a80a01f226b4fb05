// Inputs of linear layers rounded to float8_e4m3, each row under a scale of its own: the largest
// magnitude over 448. Codes stay floats, which hold them exactly; so does bfloat16.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

namespace tenon::cpu {

inline constexpr float kFloat8Largest = 448.0F;

/// The nearest float8_e4m3 number, ties to even, of a magnitude up to 448: multiples of 2^(e - 3)
/// in [2^e, 2^(e + 1)), of 2^-9 below 2^-6.
inline float round_to_float8(float value) {
  constexpr std::uint32_t kLeastExponent = 121U << 23;  // of 2^-6
  constexpr float kIntegers = 12582912.0F;              // 1.5 * 2^23: sums with it are integers
  const std::uint32_t exponent =
      std::max(std::bit_cast<std::uint32_t>(value) & 0x7F800000U, kLeastExponent);
  const std::uint32_t step = exponent - (3U << 23);
  const float steps = value * std::bit_cast<float>((254U << 23) - step);
  return (steps + kIntegers - kIntegers) * std::bit_cast<float>(step);
}

/// Rounds a row; gives its scale, which is 0 where the row is.
inline float round_row_to_float8(const float* x, std::int64_t count, float* codes) {
  float largest = 0.0F;
  for (std::int64_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(x[i]));
  const float scale = largest / kFloat8Largest;
  const float divisor = scale == 0.0F ? 1.0F : scale;
  for (std::int64_t i = 0; i < count; ++i) codes[i] = round_to_float8(x[i] / divisor);
  return scale;
}

}  // namespace tenon::cpu
