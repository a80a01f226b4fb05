// Sixteen floats as plain C++: the compiler makes of it what the target's baseline has. Internal
// linkage throughout, as with the other two forms.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstring>

#define TENON_INLINE static inline __attribute__((always_inline))

namespace tenon::cpu {
namespace {

struct Vec {
  float v[16];
};
struct Words {
  std::uint32_t v[16];
};
struct Lut {
  const float* v;
};

constexpr int kSweepRows = 1;  // rows up to which codes are decoded as they are used
constexpr int kSweepPanels = 1;
constexpr bool kWideSweeps = false;
constexpr int kTileRows = 2;
constexpr int kTilePanels = 1;

template <class F>
TENON_INLINE Vec each(F f) {
  Vec r;
  for (int i = 0; i < 16; ++i) r.v[i] = f(i);
  return r;
}

TENON_INLINE Vec set1(float x) {
  return each([&](int) { return x; });
}
TENON_INLINE Vec zero() { return set1(0.0F); }
TENON_INLINE Vec load(const float* p) {
  Vec r;
  std::memcpy(&r, p, sizeof(r));
  return r;
}
TENON_INLINE void store(float* p, const Vec& a) { std::memcpy(p, &a, sizeof(a)); }
TENON_INLINE Vec add(const Vec& a, const Vec& b) {
  return each([&](int i) { return a.v[i] + b.v[i]; });
}
TENON_INLINE Vec sub(const Vec& a, const Vec& b) {
  return each([&](int i) { return a.v[i] - b.v[i]; });
}
TENON_INLINE Vec mul(const Vec& a, const Vec& b) {
  return each([&](int i) { return a.v[i] * b.v[i]; });
}
TENON_INLINE Vec div(const Vec& a, const Vec& b) {
  return each([&](int i) { return a.v[i] / b.v[i]; });
}
/// The second operand where one is no number.
TENON_INLINE Vec min(const Vec& a, const Vec& b) {
  return each([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
TENON_INLINE Vec max(const Vec& a, const Vec& b) {
  return each([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
/// Not fused here: the baseline has no such instruction.
TENON_INLINE Vec fma(const Vec& a, const Vec& b, const Vec& c) {
  return each([&](int i) { return a.v[i] * b.v[i] + c.v[i]; });
}
/// Nearest whole number of |a| < 2^22: adding 1.5 * 2^23 leaves no bits of the fraction.
TENON_INLINE Vec round(const Vec& a) {
  return each([&](int i) { return (a.v[i] + 12582912.0F) - 12582912.0F; });
}
/// a * 2^n for whole n from -126 to 127.
TENON_INLINE Vec scale_by_power(const Vec& a, const Vec& n) {
  return each([&](int i) {
    const auto bits = static_cast<std::uint32_t>(static_cast<int>(n.v[i]) + 127) << 23;
    float power;
    std::memcpy(&power, &bits, sizeof(power));
    return a.v[i] * power;
  });
}

TENON_INLINE Words load_words(const void* p) {
  Words r;
  std::memcpy(&r, p, sizeof(r));
  return r;
}
TENON_INLINE float half_value(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16;
  const std::uint32_t rest = static_cast<std::uint32_t>(bits & 0x7FFFU) << 13;
  float value;
  std::memcpy(&value, &rest, sizeof(value));
  value *= 5.192296858534828e33F;  // 2^112: the difference of the exponents' biases
  std::uint32_t out;
  std::memcpy(&out, &value, sizeof(out));
  if (rest >= 0x0F800000U) out = rest | 0x7F800000U;  // infinite, or no number
  out |= sign;
  std::memcpy(&value, &out, sizeof(value));
  return value;
}
TENON_INLINE Vec from_half(const void* p) {
  std::uint16_t bits[16];
  std::memcpy(bits, p, sizeof(bits));
  return each([&](int i) { return half_value(bits[i]); });
}
TENON_INLINE Vec from_u8(const void* p) {
  const auto* bytes = static_cast<const std::uint8_t*>(p);
  return each([&](int i) { return static_cast<float>(bytes[i]); });
}
TENON_INLINE Vec from_i8(const void* p) {
  const auto* bytes = static_cast<const std::int8_t*>(p);
  return each([&](int i) { return static_cast<float>(bytes[i]); });
}

TENON_INLINE Lut load_lut(const float* p) { return {p}; }

template <int J>
TENON_INLINE Vec bf16_at(const Words& w) {
  Words shifted;
  for (int i = 0; i < 16; ++i) shifted.v[i] = J == 0 ? w.v[i] << 16 : w.v[i] & 0xFFFF0000U;
  Vec r;
  std::memcpy(&r, &shifted, sizeof(r));
  return r;
}
template <int J>
TENON_INLINE Vec int8_at(const Words& w) {
  return each([&](int i) {
    return static_cast<float>(static_cast<std::int32_t>(w.v[i] << (24 - 8 * J)) >> 24);
  });
}
template <int J>
TENON_INLINE Vec lut_at(const Words& w, Lut lut) {
  return each([&](int i) { return lut.v[(w.v[i] >> (4 * J)) & 15U]; });
}
template <int J>
TENON_INLINE Vec nibble_at(const Words& w, Lut /*lut*/, int code_offset) {
  return each([&](int i) {
    return static_cast<float>(static_cast<int>((w.v[i] >> (4 * J)) & 15U) - code_offset);
  });
}

}  // namespace
}  // namespace tenon::cpu
