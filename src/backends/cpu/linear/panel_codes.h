// Reading panels: codes as vectors of values, factors of a group. Included after one vec16_*.h.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/linear/panel_isa.h"

namespace tenon::cpu {
namespace {

/// kStep columns at a time lie in one Raw; at<J>() is the value of column J of them.
template <CodeKind kKind>
struct Codes;

template <>
struct Codes<CodeKind::kF32> {
  using Raw = Vec;
  static constexpr int kStep = 1;
  static constexpr int kBytes = 64;
  explicit Codes(const PanelMatrix&) {}
  TENON_INLINE Raw raw(const std::byte* p) { return load(reinterpret_cast<const float*>(p)); }
  template <int J>
  Vec at(const Raw& r) const {
    return r;
  }
};

template <>
struct Codes<CodeKind::kF16> {
  using Raw = Vec;
  static constexpr int kStep = 1;
  static constexpr int kBytes = 32;
  explicit Codes(const PanelMatrix&) {}
  TENON_INLINE Raw raw(const std::byte* p) { return from_half(p); }
  template <int J>
  Vec at(const Raw& r) const {
    return r;
  }
};

template <>
struct Codes<CodeKind::kBF16> {
  using Raw = Words;
  static constexpr int kStep = 2;
  static constexpr int kBytes = 64;
  explicit Codes(const PanelMatrix&) {}
  TENON_INLINE Raw raw(const std::byte* p) { return load_words(p); }
  template <int J>
  Vec at(const Raw& r) const {
    return bf16_at<J>(r);
  }
};

template <>
struct Codes<CodeKind::kI8> {
  using Raw = Words;
  static constexpr int kStep = 4;
  static constexpr int kBytes = 64;
  explicit Codes(const PanelMatrix&) {}
  TENON_INLINE Raw raw(const std::byte* p) { return load_words(p); }
  template <int J>
  Vec at(const Raw& r) const {
    return int8_at<J>(r);
  }
};

template <>
struct Codes<CodeKind::kI4> {
  using Raw = Words;
  static constexpr int kStep = 8;
  static constexpr int kBytes = 64;
  Lut lut;
  int offset;
  explicit Codes(const PanelMatrix& m) : lut(load_lut(m.lut)), offset(m.code_offset) {}
  TENON_INLINE Raw raw(const std::byte* p) { return load_words(p); }
  template <int J>
  Vec at(const Raw& r) const {
    return nibble_at<J>(r, lut, offset);
  }
};

template <>
struct Codes<CodeKind::kLut4> {
  using Raw = Words;
  static constexpr int kStep = 8;
  static constexpr int kBytes = 64;
  Lut lut;
  explicit Codes(const PanelMatrix& m) : lut(load_lut(m.lut)) {}
  TENON_INLINE Raw raw(const std::byte* p) { return load_words(p); }
  template <int J>
  Vec at(const Raw& r) const {
    return lut_at<J>(r, lut);
  }
};

template <int kCount, int kFirst = 0, class F>
TENON_INLINE void unrolled(F&& f) {
  if constexpr (kFirst < kCount) {
    f.template operator()<kFirst>();
    unrolled<kCount, kFirst + 1>(f);
  }
}

TENON_INLINE std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

TENON_INLINE Vec super_factor(const PanelMatrix& m, const std::byte* panel, std::int64_t chunk,
                              bool minimum) {
  const std::byte* p =
      panel + m.super_offset + ((chunk + m.super_phase) >> m.super_shift) * m.super_stride;
  if (minimum) p += m.super_stride / 2;
  return m.super_half ? from_half(p) : load(reinterpret_cast<const float*>(p));
}

/// Scales, or minima, of the group that `chunk` lies in: each the one rounded product that the
/// canonical form asks for.
TENON_INLINE Vec group_factor(const PanelMatrix& m, const std::byte* panel, std::int64_t chunk,
                              bool minimum) {
  const std::byte* p = panel + m.factor_offset + (chunk >> m.group_shift) * m.factor_stride;
  if (minimum) p += m.factor_stride / 2;
  switch (m.factors) {
    case FactorKind::kF32: return load(reinterpret_cast<const float*>(p));
    case FactorKind::kF16: return from_half(p);
    case FactorKind::kSubU8: return mul(super_factor(m, panel, chunk, minimum), from_u8(p));
    case FactorKind::kSubI8:
      return mul(super_factor(m, panel, chunk, minimum), minimum ? from_u8(p) : from_i8(p));
    default: return set1(1.0F);
  }
}

/// One call of f.operator()<kind>() for the matrix's kind of codes.
template <class F>
TENON_INLINE void dispatch_codes(CodeKind kind, F&& f) {
  switch (kind) {
    case CodeKind::kF32: return f.template operator()<CodeKind::kF32>();
    case CodeKind::kF16: return f.template operator()<CodeKind::kF16>();
    case CodeKind::kBF16: return f.template operator()<CodeKind::kBF16>();
    case CodeKind::kI8: return f.template operator()<CodeKind::kI8>();
    case CodeKind::kI4: return f.template operator()<CodeKind::kI4>();
    case CodeKind::kLut4: return f.template operator()<CodeKind::kLut4>();
  }
}

}  // namespace
}  // namespace tenon::cpu
