// Sixteen floats in one AVX-512 register. Internal linkage throughout: included by one file per
// instruction set, never by shared code.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <immintrin.h>

#include <cstdint>

#define TENON_INLINE static inline __attribute__((always_inline))

namespace tenon::cpu {
namespace {

struct Vec {
  __m512 v;
};
struct Words {
  __m512i v;
};
struct Lut {
  __m512 v;
};

constexpr int kSweepRows = 16;  // rows up to which codes are decoded as they are used
constexpr int kSweepPanels = 4;
constexpr bool kWideSweeps = true;  // 8 rows x 2 panels too: 16 chains in 32 registers
constexpr int kTileRows = 6;  // 6 x 4 vectors of sums, 4 of weights, 1 of x: 29 of 32 registers
constexpr int kTilePanels = 4;

TENON_INLINE Vec zero() { return {_mm512_setzero_ps()}; }
TENON_INLINE Vec set1(float x) { return {_mm512_set1_ps(x)}; }
TENON_INLINE Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
TENON_INLINE void store(float* p, Vec a) { _mm512_storeu_ps(p, a.v); }
TENON_INLINE Vec add(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
TENON_INLINE Vec sub(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
TENON_INLINE Vec mul(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
TENON_INLINE Vec div(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
/// The second operand where one is no number.
TENON_INLINE Vec min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
TENON_INLINE Vec max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
TENON_INLINE Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
TENON_INLINE Vec round(Vec a) { return {_mm512_roundscale_ps(a.v, 8)}; }
/// a * 2^n for whole n.
TENON_INLINE Vec scale_by_power(Vec a, Vec n) { return {_mm512_scalef_ps(a.v, n.v)}; }

TENON_INLINE Words load_words(const void* p) { return {_mm512_loadu_si512(p)}; }
TENON_INLINE Vec from_half(const void* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)))};
}
TENON_INLINE Vec from_u8(const void* p) {
  const __m128i bytes = _mm_loadu_si128(static_cast<const __m128i*>(p));
  return {_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))};
}
TENON_INLINE Vec from_i8(const void* p) {
  const __m128i bytes = _mm_loadu_si128(static_cast<const __m128i*>(p));
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))};
}

TENON_INLINE Lut load_lut(const float* p) { return {_mm512_loadu_ps(p)}; }

template <int J>
TENON_INLINE Vec bf16_at(Words w) {
  if constexpr (J == 0)
    return {_mm512_castsi512_ps(_mm512_slli_epi32(w.v, 16))};
  else
    return {_mm512_castsi512_ps(_mm512_and_si512(w.v, _mm512_set1_epi32(-65536)))};
}
template <int J>
TENON_INLINE Vec int8_at(Words w) {
  if constexpr (J == 3)
    return {_mm512_cvtepi32_ps(_mm512_srai_epi32(w.v, 24))};
  else
    return {_mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_slli_epi32(w.v, 24 - 8 * J), 24))};
}
/// The permute looks at the low four bits of each lane alone, so that a shift is all it needs.
template <int J>
TENON_INLINE Vec lut_at(Words w, Lut lut) {
  return {_mm512_permutexvar_ps(J == 0 ? w.v : _mm512_srli_epi32(w.v, 4 * J), lut.v)};
}
template <int J>
TENON_INLINE Vec nibble_at(Words w, Lut lut, int /*code_offset*/) {
  return lut_at<J>(w, lut);
}

}  // namespace
}  // namespace tenon::cpu
