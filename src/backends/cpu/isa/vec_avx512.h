// Sixteen floats in an AVX-512 register: the operations that the .inc files are written in.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace tenon::cpu::avx512 {
namespace {

using F = __m512;
constexpr std::int64_t kWidth = 16;

struct Half {
  std::uint16_t bits;
};
struct Brain {
  std::uint16_t bits;
};
struct Float8 {  // E4M3
  std::uint8_t bits;
};

inline __mmask16 first(std::int64_t n) {
  return n >= 16 ? static_cast<__mmask16>(0xFFFF) : static_cast<__mmask16>((1U << n) - 1U);
}

inline F set1(float x) { return _mm512_set1_ps(x); }
inline F add(F a, F b) { return _mm512_add_ps(a, b); }
inline F sub(F a, F b) { return _mm512_sub_ps(a, b); }
inline F mul(F a, F b) { return _mm512_mul_ps(a, b); }
inline F div(F a, F b) { return _mm512_div_ps(a, b); }
inline F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
// Where either is NaN the second is the result.
inline F max(F a, F b) { return _mm512_max_ps(a, b); }
inline F min(F a, F b) { return _mm512_min_ps(a, b); }
inline F abs(F a) { return _mm512_abs_ps(a); }
inline F nearest(F a) {
  return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/// a * 2^n, n integral.
inline F scale_by_power(F a, F n) { return _mm512_scalef_ps(a, n); }
/// a where x < y, else b.
inline F where_less(F x, F y, F a, F b) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, y, _CMP_LT_OQ), b, a);
}
inline F copy_sign(F magnitude, F sign) {
  const __m512i bit = _mm512_set1_epi32(static_cast<int>(0x80000000U));
  return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(bit, _mm512_castps_si512(sign),
                                                       _mm512_castps_si512(magnitude), 0xCA));
}
/// first, first + 1, …
inline F ramp(float first_value) {
  return _mm512_add_ps(_mm512_set1_ps(first_value),
                       _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}
inline float lane0(F a) { return _mm512_cvtss_f32(a); }
inline float sum_of(F a) { return _mm512_reduce_add_ps(a); }
inline float max_of(F a) { return _mm512_reduce_max_ps(a); }

inline F load(const float* p) { return _mm512_loadu_ps(p); }
inline F load(const Half* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline F load(const Brain* p) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
inline F load(const std::int8_t* p) {
  return _mm512_cvtepi32_ps(
      _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}

/// As float16 with the same fields, whose exponents are 8 less.
inline F widen(__m128i codes, const Float8*) {
  const __m256i x = _mm256_cvtepu8_epi16(codes);
  const __m256i magnitude = _mm256_and_si256(x, _mm256_set1_epi16(0x7F));
  const __m256i nan = _mm256_cmpeq_epi16(magnitude, _mm256_set1_epi16(0x7F));
  __m256i half = _mm256_or_si256(_mm256_slli_epi16(_mm256_xor_si256(x, magnitude), 8),
                                 _mm256_slli_epi16(magnitude, 7));
  half = _mm256_or_si256(half, _mm256_and_si256(nan, _mm256_set1_epi16(0x7E00)));
  return _mm512_mul_ps(_mm512_cvtph_ps(half), _mm512_set1_ps(256.F));
}
inline F load(const Float8* p) {
  return widen(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)), p);
}
inline F load(const Float8* p, std::int64_t n) {
  return widen(_mm_maskz_loadu_epi8(first(n), p), p);
}

/// The first n of the elements at p, zero beyond.
inline F load(const float* p, std::int64_t n) { return _mm512_maskz_loadu_ps(first(n), p); }
inline F load(const Half* p, std::int64_t n) {
  return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first(n), p));
}
inline F load(const Brain* p, std::int64_t n) {
  const __m256i bits = _mm256_maskz_loadu_epi16(first(n), p);
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
inline F load(const std::int8_t* p, std::int64_t n) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(first(n), p)));
}

inline void store(float* p, F a) { _mm512_storeu_ps(p, a); }
inline void store(float* p, F a, std::int64_t n) { _mm512_mask_storeu_ps(p, first(n), a); }
inline void store(Half* p, F a, std::int64_t n) {
  _mm256_mask_storeu_epi16(p, first(n),
                           _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
inline void store(Brain* p, F a, std::int64_t n) {
  const __m512i bits = _mm512_castps_si512(a);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
  const __mmask16 nan = _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
  rounded = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x400000));
  _mm256_mask_storeu_epi16(p, first(n), _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
}

inline void store(std::int8_t* p, F a, std::int64_t n) {
  _mm_mask_storeu_epi8(p, first(n), _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(a)));
}

}  // namespace
}  // namespace tenon::cpu::avx512
