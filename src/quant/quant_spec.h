// QuantSpec: how the numbers of one weight part are held. Every format of the field (GGUF blocks,
// GPTQ, AWQ, weight-only, fp8 …) is brought into this one canonical form; nothing past the
// readers knows a format's name.
//
// A quantized part [rows, columns] is a set of tensors in files and memory:
//   codes   uint8 [rows, code_bytes]: element c of a row lies at bits [c * bits, (c + 1) * bits) of
//           the row, least significant first. Unsigned, but where signed_codes(): two's complement;
//           kScaledFloat: the bits of a number of float_type.
//   scale   one-level: [rows, groups] of scale_type.
//           two-level: [rows, supers] of scale_type; the group's factor is sub_scale.
//   sub_scale  two-level only, uint8 [rows, sub_bytes]: one byte a group (sub_bits 8) or one nibble
//              (sub_bits 4, even groups in the low half); two's complement where sub_signed.
//   minimum, sub_minimum  where has_minimum: laid out as scale and sub_scale, sub_minimum unsigned.
//   codebook   int8 or float32 [2^bits], where kind is kCodebook.
// with groups = columns / group_size (no remainder is allowed) and
// supers = ceil((super_phase + columns) / super_size), 0 for no columns.
// Value of element c, in fp32, each product rounded, never fused:
//   s = scale            or  scale * sub_scale
//   m = minimum          or  minimum * sub_minimum
//   value = s * (code - code_offset) + m          (kInteger; two-level minima are subtracted)
//   value = s * codebook[code]                    (kCodebook)
//   value = s * float_type's number               (kScaledFloat, one-level, no minimum)
// One scale for a whole matrix is stored as a scale a row, all the same: 4 bytes a row more, and
// any cut or join along rows stays one.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/dtype.h"

namespace tenon {

enum class QuantKind : std::uint8_t {
  kFloat,        ///< plain elements of `float_type`; nothing else applies
  kInteger,      ///< evenly spaced codes
  kCodebook,     ///< codes index a table of 2^bits values
  kScaledFloat,  ///< fp8 numbers of `float_type` with scales; 8 bits, no offset
};

struct QuantSpec {
  QuantKind kind = QuantKind::kFloat;
  DataType float_type = DataType::kFloat32;

  int bits = 0;                 ///< 2, 3, 4, 5, 6 or 8
  int code_offset = 0;          ///< subtracted from the unsigned code (8-bit codes with 0 are int8)
  std::int64_t group_size = 0;  ///< columns that share a scale; 0: the whole row
  DataType scale_type = DataType::kFloat16;
  bool has_minimum = false;

  std::int64_t super_size = 0;   ///< columns of one super-block; 0: one-level scales
  int sub_bits = 0;              ///< 4 or 8: width of sub_scale and sub_minimum
  bool sub_signed = false;       ///< sub_scale is two's complement
  std::int64_t super_phase = 0;  ///< columns of the first super-block that another shard holds

  static QuantSpec floating(DataType type) { return {.float_type = type}; }
  /// `type`: float8_e4m3 or float8_e5m2, with a float32 scale for every row.
  static QuantSpec scaled_float(DataType type) {
    return {.kind = QuantKind::kScaledFloat,
            .float_type = type,
            .bits = 8,
            .scale_type = DataType::kFloat32};
  }

  /// Plain elements: one tensor, no scales.
  bool is_float() const { return kind == QuantKind::kFloat; }
  bool two_level() const { return super_size > 0; }
  /// Codes are int8, -128 … 127, instead of unsigned.
  bool signed_codes() const { return kind == QuantKind::kInteger && bits == 8 && code_offset == 0; }
  /// float8_e4m3 numbers that a product with such inputs may read as they are: no scale, or one for
  /// all of a row's `columns`.
  bool suits_float8_inputs(std::int64_t columns) const {
    const bool scales_rows = group_size == 0 || group_size >= columns;
    return float_type == DataType::kFloat8E4M3 &&
           (is_float() || (kind == QuantKind::kScaledFloat && scales_rows));
  }
  std::int64_t groups(std::int64_t columns) const;
  std::int64_t supers(std::int64_t columns) const;      ///< 0 where one-level
  std::int64_t code_bytes(std::int64_t columns) const;  ///< bytes of one row of codes
  std::int64_t sub_bytes(std::int64_t columns) const;   ///< bytes of one row of sub_scale
  /// Bytes of a part [rows, columns] with all its tensors (a codebook counted as int8).
  std::int64_t bytes(std::int64_t rows, std::int64_t columns) const;
  /// Columns at whose multiples a part may be cut (its own end is always allowed).
  std::int64_t column_unit() const;
  /// Throws Error{kCorrupt} naming `where` and the field that cannot be.
  void check(std::string_view where) const;

  bool operator==(const QuantSpec&) const = default;
};

/// "float16", "int4 group 32 scale float16 offset 8", "float8_e4m3 group row scale float32", …:
/// printed, stored in files, parsed back.
std::string to_string(const QuantSpec& spec);
/// Inverse of to_string. Throws Error{kCorrupt} naming `where`; every field is checked.
QuantSpec parse_quant_spec(std::string_view text, std::string_view where);

}  // namespace tenon
