// Sixteen floats in two AVX registers (AVX2, FMA, F16C). Internal linkage throughout: included by
// one file per instruction set, never by shared code.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <immintrin.h>

#include <cstdint>

#define TENON_INLINE static inline __attribute__((always_inline))

namespace tenon::cpu {
namespace {

struct Vec {
  __m256 a, b;
};
struct Words {
  __m256i a, b;
};
struct Lut {
  __m256 low, high;
};

constexpr int kSweepRows = 2;  // rows up to which codes are decoded as they are used
constexpr int kSweepPanels = 2;
constexpr bool kWideSweeps = false;
constexpr int kTileRows = 6;  // 6 x 2 registers of sums, 2 of weights, 1 of x: 15 of 16
constexpr int kTilePanels = 1;

TENON_INLINE Vec zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
TENON_INLINE Vec set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
TENON_INLINE Vec load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
TENON_INLINE void store(float* p, Vec x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
TENON_INLINE Vec add(Vec x, Vec y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
TENON_INLINE Vec sub(Vec x, Vec y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
TENON_INLINE Vec mul(Vec x, Vec y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
TENON_INLINE Vec div(Vec x, Vec y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
/// The second operand where one is no number.
TENON_INLINE Vec min(Vec x, Vec y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
TENON_INLINE Vec max(Vec x, Vec y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
TENON_INLINE Vec fma(Vec x, Vec y, Vec z) {
  return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
TENON_INLINE Vec round(Vec x) {
  return {_mm256_round_ps(x.a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
          _mm256_round_ps(x.b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
TENON_INLINE __m256 power_of_two(__m256 n) {
  const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
}
/// a * 2^n for whole n from -126 to 127.
TENON_INLINE Vec scale_by_power(Vec x, Vec n) {
  return {_mm256_mul_ps(x.a, power_of_two(n.a)), _mm256_mul_ps(x.b, power_of_two(n.b))};
}

TENON_INLINE Words load_words(const void* p) {
  const auto* q = static_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(q), _mm256_loadu_si256(q + 1)};
}
TENON_INLINE Vec from_half(const void* p) {
  const auto* q = static_cast<const __m128i*>(p);
  return {_mm256_cvtph_ps(_mm_loadu_si128(q)), _mm256_cvtph_ps(_mm_loadu_si128(q + 1))};
}
TENON_INLINE Vec from_u8(const void* p) {
  const __m128i bytes = _mm_loadu_si128(static_cast<const __m128i*>(p));
  return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)),
          _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8)))};
}
TENON_INLINE Vec from_i8(const void* p) {
  const __m128i bytes = _mm_loadu_si128(static_cast<const __m128i*>(p));
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)),
          _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)))};
}

TENON_INLINE Lut load_lut(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }

template <int J>
TENON_INLINE __m256 bf16_half(__m256i w) {
  if constexpr (J == 0)
    return _mm256_castsi256_ps(_mm256_slli_epi32(w, 16));
  else
    return _mm256_castsi256_ps(_mm256_and_si256(w, _mm256_set1_epi32(-65536)));
}
template <int J>
TENON_INLINE Vec bf16_at(Words w) {
  return {bf16_half<J>(w.a), bf16_half<J>(w.b)};
}
template <int J>
TENON_INLINE __m256 int8_half(__m256i w) {
  return _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(w, 24 - 8 * J), 24));
}
template <int J>
TENON_INLINE Vec int8_at(Words w) {
  return {int8_half<J>(w.a), int8_half<J>(w.b)};
}
/// Two permutes look at three bits of the code; its fourth, moved to the sign, picks one.
template <int J>
TENON_INLINE __m256 lut_half(__m256i w, Lut lut) {
  const __m256i code = _mm256_srli_epi32(w, 4 * J);
  const __m256 top = _mm256_castsi256_ps(_mm256_slli_epi32(w, 28 - 4 * J));
  return _mm256_blendv_ps(_mm256_permutevar8x32_ps(lut.low, code),
                          _mm256_permutevar8x32_ps(lut.high, code), top);
}
template <int J>
TENON_INLINE Vec lut_at(Words w, Lut lut) {
  return {lut_half<J>(w.a, lut), lut_half<J>(w.b, lut)};
}
template <int J>
TENON_INLINE __m256 nibble_half(__m256i w, __m256i offset) {
  const __m256i code = _mm256_and_si256(_mm256_srli_epi32(w, 4 * J), _mm256_set1_epi32(15));
  return _mm256_cvtepi32_ps(_mm256_sub_epi32(code, offset));
}
template <int J>
TENON_INLINE Vec nibble_at(Words w, Lut /*lut*/, int code_offset) {
  const __m256i offset = _mm256_set1_epi32(code_offset);
  return {nibble_half<J>(w.a, offset), nibble_half<J>(w.b, offset)};
}

}  // namespace
}  // namespace tenon::cpu
