// Eight floats in an AVX2 register: the operations that the .inc files are written in.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace tenon::cpu::avx2 {
namespace {

using F = __m256;
constexpr std::int64_t kWidth = 8;

struct Half {
  std::uint16_t bits;
};
struct Brain {
  std::uint16_t bits;
};
struct Float8 {  // E4M3
  std::uint8_t bits;
};

inline __m256i first(std::int64_t n) {
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), lanes);
}

inline F set1(float x) { return _mm256_set1_ps(x); }
inline F add(F a, F b) { return _mm256_add_ps(a, b); }
inline F sub(F a, F b) { return _mm256_sub_ps(a, b); }
inline F mul(F a, F b) { return _mm256_mul_ps(a, b); }
inline F div(F a, F b) { return _mm256_div_ps(a, b); }
inline F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
// Where either is NaN the second is the result.
inline F max(F a, F b) { return _mm256_max_ps(a, b); }
inline F min(F a, F b) { return _mm256_min_ps(a, b); }
inline F abs(F a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.F), a); }
inline F nearest(F a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
/// a * 2^n, n integral within [-252, 254]: in two steps, since 2^n may be no float.
inline F scale_by_power(F a, F n) {
  const __m256i power = _mm256_cvtps_epi32(n);
  const __m256i half = _mm256_srai_epi32(power, 1);
  const __m256i rest = _mm256_sub_epi32(power, half);
  const __m256i one = _mm256_set1_epi32(127);
  a = _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, one), 23)));
  return _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, one), 23)));
}
/// a where x < y, else b.
inline F where_less(F x, F y, F a, F b) {
  return _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, y, _CMP_LT_OQ));
}
inline F copy_sign(F magnitude, F sign) {
  const F bit = _mm256_set1_ps(-0.F);
  return _mm256_or_ps(_mm256_and_ps(bit, sign), _mm256_andnot_ps(bit, magnitude));
}
/// first, first + 1, …
inline F ramp(float first_value) {
  return _mm256_add_ps(_mm256_set1_ps(first_value), _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7));
}
inline float lane0(F a) { return _mm256_cvtss_f32(a); }
inline float sum_of(F a) {
  __m128 half = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  half = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}
inline float max_of(F a) {
  __m128 half = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  half = _mm_max_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}

inline F widen(__m128i bits, const Half*) { return _mm256_cvtph_ps(bits); }
inline F widen(__m128i bits, const Brain*) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
inline F widen(__m128i bits, const std::int8_t*) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bits));
}

/// As float16 with the same fields, whose exponents are 8 less.
inline F widen(__m128i codes, const Float8*) {
  const __m128i x = _mm_cvtepu8_epi16(codes);
  const __m128i magnitude = _mm_and_si128(x, _mm_set1_epi16(0x7F));
  const __m128i nan = _mm_cmpeq_epi16(magnitude, _mm_set1_epi16(0x7F));
  __m128i half =
      _mm_or_si128(_mm_slli_epi16(_mm_xor_si128(x, magnitude), 8), _mm_slli_epi16(magnitude, 7));
  half = _mm_or_si128(half, _mm_and_si128(nan, _mm_set1_epi16(0x7E00)));
  return _mm256_mul_ps(_mm256_cvtph_ps(half), _mm256_set1_ps(256.F));
}

inline F load(const float* p) { return _mm256_loadu_ps(p); }
inline F load(const Half* p) {
  return widen(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)), p);
}
inline F load(const Brain* p) {
  return widen(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)), p);
}
inline F load(const std::int8_t* p) {
  return widen(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)), p);
}
inline F load(const Float8* p) {
  return widen(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)), p);
}

/// The first n of the elements at p, zero beyond.
inline F load(const float* p, std::int64_t n) {
  return n >= kWidth ? load(p) : _mm256_maskload_ps(p, first(n));
}
template <class T>
inline F load(const T* p, std::int64_t n) {
  if (n >= kWidth) return load(p);
  T buffer[16] = {};
  for (std::int64_t i = 0; i < n; ++i) buffer[i] = p[i];
  return load(static_cast<const T*>(buffer));
}

inline void store(float* p, F a) { _mm256_storeu_ps(p, a); }
inline void store(float* p, F a, std::int64_t n) {
  if (n >= kWidth)
    store(p, a);
  else
    _mm256_maskstore_ps(p, first(n), a);
}
inline void store_bits(void* p, __m128i bits, std::int64_t n) {
  if (n >= kWidth) {
    _mm_storeu_si128(static_cast<__m128i*>(p), bits);
    return;
  }
  alignas(16) std::uint16_t buffer[8];
  _mm_store_si128(reinterpret_cast<__m128i*>(buffer), bits);
  for (std::int64_t i = 0; i < n; ++i) static_cast<std::uint16_t*>(p)[i] = buffer[i];
}
inline void store(Half* p, F a, std::int64_t n) {
  store_bits(p, _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), n);
}
inline void store(Brain* p, F a, std::int64_t n) {
  const __m256i bits = _mm256_castps_si256(a);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF)));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
  rounded = _mm256_blendv_epi8(rounded, _mm256_or_si256(bits, _mm256_set1_epi32(0x400000)), nan);
  const __m256i words = _mm256_srli_epi32(rounded, 16);
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(words, words), 0x08);
  store_bits(p, _mm256_castsi256_si128(packed), n);
}

inline void store(std::int8_t* p, F a, std::int64_t n) {
  alignas(32) std::int32_t buffer[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(buffer), _mm256_cvtps_epi32(a));
  for (std::int64_t i = 0; i < n && i < kWidth; ++i) p[i] = static_cast<std::int8_t>(buffer[i]);
}

}  // namespace
}  // namespace tenon::cpu::avx2
