// SPDX-License-Identifier: Apache-2.0
#include "core/half.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "core/check.h"

namespace tenon {

float fp16_to_float(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1FU;
  const std::uint32_t mantissa = bits & 0x3FFU;
  if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24, exact in float
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
  }
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000U | (mantissa << 13));
  return std::bit_cast<float>(sign | ((exponent + 112U) << 23) | (mantissa << 13));
}

std::uint16_t float_to_fp16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000U);
  const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
  if (magnitude > 0x7F800000U)
    return static_cast<std::uint16_t>(sign | 0x7E00U | ((magnitude >> 13) & 0x3FFU));
  if (magnitude >= 0x477FF000U) return sign | 0x7C00U;  // rounds to 65536 or more
  if (magnitude < 0x38800000U) {                        // below 2^-14: subnormal, steps of 2^-24
    const float steps = std::bit_cast<float>(magnitude) * 0x1p24F;
    return static_cast<std::uint16_t>(sign | static_cast<std::uint16_t>(std::nearbyintf(steps)));
  }
  const std::uint32_t rounded = magnitude + 0xFFFU + ((magnitude >> 13) & 1U);
  return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000U) >> 13));
}

namespace {

float decode_fp8_e4m3(int bits) {
  const float sign = (bits & 0x80) != 0 ? -1.0F : 1.0F;
  const int exponent = (bits >> 3) & 0xF;
  const int mantissa = bits & 0x7;
  if (exponent == 15 && mantissa == 7) return sign * std::nanf("");
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -9);
  return sign * std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
}

}  // namespace

float fp8_e4m3_to_float(std::uint8_t bits) {
  static const std::array<float, 256> table = [] {
    std::array<float, 256> values;
    for (int i = 0; i < 256; ++i) values[static_cast<std::size_t>(i)] = decode_fp8_e4m3(i);
    return values;
  }();
  return table[bits];
}

std::uint8_t float_to_fp8_e4m3(float value) {
  const std::uint8_t sign = std::signbit(value) ? 0x80U : 0U;
  if (std::isnan(value)) return sign | 0x7FU;
  const float magnitude = std::fabs(value);
  if (magnitude >= 448.0F) return sign | 0x7EU;
  // In [2^e, 2^(e + 1)) steps are 2^(e - 3), below 2^-6 they are 2^-9.
  constexpr std::uint32_t kLeast = 121U << 23;  // the bits of 2^-6
  constexpr float kIntegers = 12582912.0F;      // 1.5 * 2^23: sums with it are integers
  const std::uint32_t power =
      std::max(std::bit_cast<std::uint32_t>(magnitude) & 0x7F800000U, kLeast);
  const auto one_over_step = std::bit_cast<float>((257U << 23) - power);
  const auto steps = static_cast<std::uint32_t>(magnitude * one_over_step + kIntegers - kIntegers);
  // Below 8 steps of 2^-9 the code is their count; above, a carry out of the mantissa moves into
  // the exponent field by itself.
  return static_cast<std::uint8_t>(sign | (((power - kLeast) >> 20) + steps));
}

float fp8_e5m2_to_float(std::uint8_t bits) {
  return fp16_to_float(static_cast<std::uint16_t>(bits << 8));  // e5m2 is fp16's upper byte
}

namespace {

template <class T>
void widen(const void* source, float* out, std::size_t count) {
  const auto* bytes = static_cast<const unsigned char*>(source);
  for (std::size_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, bytes + i * sizeof(T), sizeof(T));
    out[i] = static_cast<float>(value);
  }
}

template <class T, class Convert>
void widen_with(const void* source, float* out, std::size_t count, Convert convert) {
  const auto* bytes = static_cast<const unsigned char*>(source);
  for (std::size_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, bytes + i * sizeof(T), sizeof(T));
    out[i] = convert(value);
  }
}

}  // namespace

void convert_to_float(DataType from, const void* source, float* out, std::size_t count) {
  if (count == 0) return;
  switch (from) {
    case DataType::kFloat32: std::memcpy(out, source, count * sizeof(float)); return;
    case DataType::kFloat16: return widen_with<std::uint16_t>(source, out, count, fp16_to_float);
    case DataType::kBFloat16: return widen_with<std::uint16_t>(source, out, count, bf16_to_float);
    case DataType::kFloat64: return widen<double>(source, out, count);
    case DataType::kFloat8E4M3:
      return widen_with<std::uint8_t>(source, out, count, fp8_e4m3_to_float);
    case DataType::kFloat8E5M2:
      return widen_with<std::uint8_t>(source, out, count, fp8_e5m2_to_float);
    case DataType::kInt8: return widen<std::int8_t>(source, out, count);
    case DataType::kUInt8: return widen<std::uint8_t>(source, out, count);
    case DataType::kInt16: return widen<std::int16_t>(source, out, count);
    case DataType::kUInt16: return widen<std::uint16_t>(source, out, count);
    case DataType::kInt32: return widen<std::int32_t>(source, out, count);
    case DataType::kUInt32: return widen<std::uint32_t>(source, out, count);
    case DataType::kInt64: return widen<std::int64_t>(source, out, count);
    case DataType::kUInt64: return widen<std::uint64_t>(source, out, count);
    case DataType::kBool:
      return widen_with<std::uint8_t>(source, out, count,
                                      [](std::uint8_t v) { return v != 0 ? 1.0F : 0.0F; });
  }
  TENON_ASSERT(false);
}

void convert_from_float(DataType to, const float* source, void* out, std::size_t count) {
  if (count == 0) return;
  switch (to) {
    case DataType::kFloat32: std::memcpy(out, source, count * sizeof(float)); return;
    case DataType::kFloat16:
      for (std::size_t i = 0; i < count; ++i)
        static_cast<std::uint16_t*>(out)[i] = float_to_fp16(source[i]);
      return;
    case DataType::kBFloat16:
      for (std::size_t i = 0; i < count; ++i)
        static_cast<std::uint16_t*>(out)[i] = float_to_bf16(source[i]);
      return;
    case DataType::kFloat8E4M3:
      for (std::size_t i = 0; i < count; ++i)
        static_cast<std::uint8_t*>(out)[i] = float_to_fp8_e4m3(source[i]);
      return;
    default: fail(ErrorCode::kUnsupported, "cannot convert float32 to {}", to_string(to));
  }
}

}  // namespace tenon
