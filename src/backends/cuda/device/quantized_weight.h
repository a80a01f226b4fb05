// QuantizedWeight: a weight part in its canonical form (quant/quant_spec.h) on the device, and one
// of its elements as fp32. The slow, general way that plain kernels take; also the specification
// that packed layouts are tested against.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "backends/cuda/device/element.h"
#include "quant/quant_spec.h"

namespace tenon::cuda {

/// Fields as in QuantSpec; `plain` elements have codes of float_type and nothing else,
/// `scaled_float` ones scales too.
struct QuantizedWeight {
  bool plain = true;
  bool codebook_kind = false;
  bool scaled_float = false;
  bool signed_codes = false;
  bool has_minimum = false;
  bool sub_signed = false;
  bool codebook_int8 = false;
  DataType float_type = DataType::kFloat32;
  DataType scale_type = DataType::kFloat16;
  std::int32_t bits = 0;
  std::int32_t code_offset = 0;
  std::int32_t sub_bits = 0;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t group_size = 0;  ///< never 0: the columns where a row has one group
  std::int64_t super_size = 0;
  std::int64_t super_phase = 0;
  std::int64_t groups = 0;
  std::int64_t supers = 0;
  std::int64_t code_bytes = 0;
  std::int64_t sub_bytes = 0;
  const std::uint8_t* codes = nullptr;
  const void* scale = nullptr;
  const std::uint8_t* sub_scale = nullptr;
  const void* minimum = nullptr;
  const std::uint8_t* sub_minimum = nullptr;
  const void* codebook = nullptr;
};

#ifdef __CUDACC__

__device__ inline int sub_factor(const std::uint8_t* row, int bits, bool is_signed,
                                 std::int64_t group) {
  if (bits == 8)
    return is_signed ? static_cast<int>(static_cast<std::int8_t>(row[group]))
                     : static_cast<int>(row[group]);
  const int nibble = (row[group / 2] >> (4 * (group % 2))) & 15;
  return is_signed && nibble > 7 ? nibble - 16 : nibble;
}

struct GroupFactors {
  float scale = 1.F;
  float minimum = 0.F;
};

/// Of the group that holds `column` of `row`. Products are rounded, never fused, as on the CPU.
__device__ inline GroupFactors group_factors(const QuantizedWeight& w, std::int64_t row,
                                             std::int64_t column) {
  GroupFactors out;
  const std::int64_t group = column / w.group_size;
  if (w.super_size == 0) {
    out.scale = load(w.scale, w.scale_type, row * w.groups + group);
    if (w.has_minimum) out.minimum = load(w.minimum, w.scale_type, row * w.groups + group);
    return out;
  }
  const std::int64_t super = (w.super_phase + group * w.group_size) / w.super_size;
  const std::int64_t at = row * w.supers + super;
  const int factor = sub_factor(w.sub_scale + row * w.sub_bytes, w.sub_bits, w.sub_signed, group);
  out.scale = __fmul_rn(load(w.scale, w.scale_type, at), static_cast<float>(factor));
  if (w.has_minimum) {
    const int least = sub_factor(w.sub_minimum + row * w.sub_bytes, w.sub_bits, false, group);
    // Two-level minima are subtracted.
    out.minimum = -__fmul_rn(load(w.minimum, w.scale_type, at), static_cast<float>(least));
  }
  return out;
}

__device__ inline int code_at(const QuantizedWeight& w, std::int64_t row, std::int64_t column) {
  const std::uint8_t* packed = w.codes + row * w.code_bytes;
  if (w.bits == 8) return packed[column];
  const std::int64_t bit = column * w.bits;
  const std::int64_t byte = bit / 8;
  const int shift = static_cast<int>(bit % 8);
  int wide = packed[byte];
  if (shift + w.bits > 8) wide |= packed[byte + 1] << 8;
  return (wide >> shift) & ((1 << w.bits) - 1);
}

__device__ inline float dequantize(const QuantizedWeight& w, const GroupFactors& factors,
                                   std::int64_t row, std::int64_t column) {
  if (w.scaled_float)
    return __fmul_rn(factors.scale, load(w.codes, w.float_type, row * w.columns + column));
  const int code = code_at(w, row, column);
  if (w.codebook_kind) {
    const float entry = w.codebook_int8
                            ? static_cast<float>(static_cast<const std::int8_t*>(w.codebook)[code])
                            : static_cast<const float*>(w.codebook)[code];
    return __fmul_rn(factors.scale, entry);
  }
  const int value =
      w.signed_codes ? static_cast<int>(static_cast<std::int8_t>(code)) : code - w.code_offset;
  const float product = __fmul_rn(factors.scale, static_cast<float>(value));
  return w.has_minimum ? __fadd_rn(product, factors.minimum) : product;
}

__device__ inline float element(const QuantizedWeight& w, std::int64_t row, std::int64_t column) {
  if (w.plain) return load(w.codes, w.float_type, row * w.columns + column);
  return dequantize(w, group_factors(w, row, column), row, column);
}

#endif  // __CUDACC__

}  // namespace tenon::cuda
