// Planning and filling panels. What each form costs is in docs/cpu-weight-layouts.md.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/linear/packed_weight.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "core/check.h"
#include "core/half.h"
#include "quant/bit_packing.h"

namespace tenon::cpu {
namespace {

constexpr std::int64_t kLongestChunk = 64;
constexpr std::int64_t kUsualChunk = 64;
constexpr int kWholeRow = 40;  // a group_shift past every chunk

std::int64_t round_up(std::int64_t value, std::int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

bool is_power_of_two(std::int64_t value) {
  return std::has_single_bit(static_cast<std::uint64_t>(value));
}

int log2_of(std::int64_t value) { return std::countr_zero(static_cast<std::uint64_t>(value)); }

/// Columns that share one 64-byte word of codes.
std::int64_t step_of(CodeKind kind) {
  switch (kind) {
    case CodeKind::kF32:
    case CodeKind::kF16: return 1;
    case CodeKind::kBF16: return 2;
    case CodeKind::kI8: return 4;
    default: return 8;
  }
}

std::int64_t code_bytes(CodeKind kind, std::int64_t columns) {
  const std::int64_t values = columns * kPanelRows;
  switch (kind) {
    case CodeKind::kF32: return values * 4;
    case CodeKind::kF16:
    case CodeKind::kBF16: return values * 2;
    case CodeKind::kI8: return values;
    default: return values / 2;
  }
}

void plan_float(PanelMatrix& m, DataType type) {
  m.factors = FactorKind::kNone;
  m.minimum = false;
  m.chunk = kUsualChunk;
  m.group_shift = 0;
  m.exact_terms = 3;
  m.codes = CodeKind::kF32;
  if (type == DataType::kFloat16) {
    m.codes = CodeKind::kF16;
    m.exact_terms = 2;
  } else if (type == DataType::kBFloat16 || type == DataType::kFloat8E4M3 ||
             type == DataType::kFloat8E5M2) {
    m.codes = CodeKind::kBF16;
    m.exact_terms = 1;
  }
}

/// Cuts groups into chunks; false where the group suits no chunk of whole words.
bool plan_chunks(PanelMatrix& m, const QuantSpec& spec) {
  if (spec.group_size == 0 || spec.group_size >= m.columns) {
    m.chunk = kUsualChunk;
    m.group_shift = kWholeRow;
  } else if (spec.group_size <= kLongestChunk) {
    m.chunk = spec.group_size;
  } else if (spec.group_size % kUsualChunk == 0 && is_power_of_two(spec.group_size / kUsualChunk)) {
    m.chunk = kUsualChunk;
    m.group_shift = log2_of(spec.group_size / kUsualChunk);
  } else {
    return false;
  }
  return m.chunk % step_of(m.codes) == 0;
}

/// fp8 numbers with a scale a row: exact as bfloat16, and the scales wait for the finished sums.
bool plan_scaled_float(PanelMatrix& m, const QuantSpec& spec) {
  if (spec.group_size != 0 && spec.group_size < m.columns) return false;
  plan_float(m, spec.float_type);
  m.row_scaled = true;
  return true;
}

void plan_factors(PanelMatrix& m, const QuantSpec& spec) {
  m.minimum = spec.has_minimum;
  const bool half = spec.scale_type == DataType::kFloat16;
  if (!spec.two_level()) {
    m.factors = half ? FactorKind::kF16 : FactorKind::kF32;
    return;
  }
  const std::int64_t groups_per_super = spec.super_size / spec.group_size;
  if (m.chunk != spec.group_size || !is_power_of_two(groups_per_super)) {
    m.factors = FactorKind::kF32;
    return;
  }
  m.factors = spec.sub_signed ? FactorKind::kSubI8 : FactorKind::kSubU8;
  m.super_half = half;
  m.super_shift = log2_of(groups_per_super);
  m.super_phase = spec.super_phase / spec.group_size;
}

bool plan_codes(PanelMatrix& m, const QuantSpec& spec) {
  m.code_offset = spec.code_offset;
  if (spec.kind == QuantKind::kCodebook) {
    m.codes = CodeKind::kLut4;
    return spec.bits <= 4 && plan_chunks(m, spec);
  }
  m.codes = CodeKind::kI4;
  if (spec.bits <= 4 && plan_chunks(m, spec)) return true;
  m.codes = CodeKind::kI8;
  const bool fits = spec.bits < 8 || spec.code_offset == 0 || spec.code_offset == 128;
  return fits && plan_chunks(m, spec);
}

std::int64_t factor_vector_bytes(FactorKind kind) {
  switch (kind) {
    case FactorKind::kNone: return 0;
    case FactorKind::kF32: return kPanelRows * 4;
    case FactorKind::kF16: return kPanelRows * 2;
    default: return kPanelRows;
  }
}

void place(PanelMatrix& m) {
  m.chunks = (m.columns + m.chunk - 1) / m.chunk;
  m.panels = (m.rows + kPanelRows - 1) / kPanelRows;
  // AMX loads bf16 tiles of 32 columns as they lie.
  const std::int64_t unit =
      m.codes == CodeKind::kBF16 ? 32 : std::max<std::int64_t>(2, step_of(m.codes));
  m.stored_columns = round_up(m.columns, unit);
  const std::int64_t vectors = m.minimum ? 2 : 1;
  std::int64_t groups = 0;
  std::int64_t supers = 0;
  if (m.factors != FactorKind::kNone && m.chunks > 0)
    groups = ((m.chunks - 1) >> m.group_shift) + 1;
  if (m.factors == FactorKind::kSubU8 || m.factors == FactorKind::kSubI8) {
    if (m.chunks > 0) supers = ((m.chunks - 1 + m.super_phase) >> m.super_shift) + 1;
    m.super_stride = vectors * kPanelRows * (m.super_half ? 2 : 4);
  }
  m.factor_stride = vectors * factor_vector_bytes(m.factors);
  m.factor_offset = code_bytes(m.codes, m.stored_columns);
  m.super_offset = m.factor_offset + groups * m.factor_stride;
  m.panel_bytes = round_up(m.super_offset + supers * m.super_stride, 64);
}

/// One panel being filled.
class PanelWriter {
 public:
  PanelWriter(const QuantizedTensor& weight, const PanelMatrix& m, std::byte* panel)
      : weight_(weight), spec_(weight.spec), m_(m), panel_(panel) {}

  void write(std::int64_t first_row, std::int64_t count) {
    std::memset(panel_, 0, static_cast<std::size_t>(m_.panel_bytes));
    if (m_.columns == 0) return;
    for (std::int64_t lane = 0; lane < count; ++lane) {
      write_codes(first_row + lane, lane);
      if (m_.factors != FactorKind::kNone) write_factors(first_row + lane, lane);
    }
  }

 private:
  template <class T>
  T* at(std::int64_t offset) const {
    return reinterpret_cast<T*>(panel_ + offset);
  }

  void write_codes(std::int64_t row, std::int64_t lane) {
    switch (m_.codes) {
      case CodeKind::kF32: return write_f32(row, lane);
      case CodeKind::kF16: {
        const auto* source = weight_.codes.view().as<std::uint16_t>() + row * m_.columns;
        for (std::int64_t k = 0; k < m_.columns; ++k)
          at<std::uint16_t>(0)[k * kPanelRows + lane] = source[k];
        return;
      }
      case CodeKind::kBF16: return write_bf16(row, lane);
      default: return write_integers(row, lane);
    }
  }

  void write_f32(std::int64_t row, std::int64_t lane) {
    values_.resize(static_cast<std::size_t>(m_.columns));
    dequantize_row(weight_, row, 0, m_.columns, values_.data());
    for (std::int64_t k = 0; k < m_.columns; ++k)
      at<float>(0)[k * kPanelRows + lane] = values_[static_cast<std::size_t>(k)];
  }

  void write_bf16(std::int64_t row, std::int64_t lane) {
    auto* out = at<std::uint16_t>(0) + lane * 2;
    if (spec_.is_float() && spec_.float_type == DataType::kBFloat16) {
      const auto* source = weight_.codes.view().as<std::uint16_t>() + row * m_.columns;
      for (std::int64_t k = 0; k < m_.columns; ++k) out[k / 2 * 32 + k % 2] = source[k];
      return;
    }
    values_.resize(static_cast<std::size_t>(m_.columns));
    if (m_.row_scaled)
      convert_to_float(spec_.float_type, weight_.codes.data() + row * m_.columns, values_.data(),
                       values_.size());
    else
      dequantize_row(weight_, row, 0, m_.columns, values_.data());
    for (std::int64_t k = 0; k < m_.columns; ++k)
      out[k / 2 * 32 + k % 2] = float_to_bf16(values_[static_cast<std::size_t>(k)]);
  }

  void write_integers(std::int64_t row, std::int64_t lane) {
    codes_.assign(static_cast<std::size_t>(round_up(m_.columns, 8)), 0);
    unpack_bits(spec_.bits, weight_.codes.data() + row * spec_.code_bytes(m_.columns), 0,
                m_.columns, codes_.data());
    if (m_.codes == CodeKind::kI8) {
      auto* out = at<std::uint8_t>(0) + lane * 4;
      for (std::int64_t k = 0; k < m_.columns; ++k)
        out[k / 4 * 64 + k % 4] =
            static_cast<std::uint8_t>(codes_[static_cast<std::size_t>(k)] - spec_.code_offset);
      return;
    }
    auto* out = at<std::uint32_t>(0) + lane;
    for (std::int64_t k = 0; k < m_.columns; k += 8) {
      std::uint32_t word = 0;
      for (std::int64_t j = 0; j < 8; ++j)
        word |= static_cast<std::uint32_t>(codes_[static_cast<std::size_t>(k + j)]) << (4 * j);
      out[k / 8 * kPanelRows] = word;
    }
  }

  void write_factors(std::int64_t row, std::int64_t lane) {
    const std::int64_t groups = ((m_.chunks - 1) >> m_.group_shift) + 1;
    const std::int64_t half = m_.factor_stride / 2;
    if (m_.factors == FactorKind::kSubU8 || m_.factors == FactorKind::kSubI8) {
      write_sub(weight_.sub_scale, row, lane, m_.factor_offset, spec_.sub_signed, groups);
      write_supers(weight_.scale, row, lane, m_.super_offset, 1.0F);
      if (!m_.minimum) return;
      write_sub(weight_.sub_minimum, row, lane, m_.factor_offset + half, false, groups);
      write_supers(weight_.minimum, row, lane, m_.super_offset + m_.super_stride / 2, -1.0F);
      return;
    }
    for (std::int64_t group = 0; group < groups; ++group) {
      const std::int64_t offset = m_.factor_offset + group * m_.factor_stride;
      write_factor(offset, lane,
                   factor(weight_.scale, weight_.sub_scale, row, group, spec_.sub_signed));
      if (!m_.minimum) continue;
      const float minimum = factor(weight_.minimum, weight_.sub_minimum, row, group, false);
      write_factor(offset + half, lane, spec_.two_level() ? -minimum : minimum);
    }
  }

  void write_factor(std::int64_t offset, std::int64_t lane, float value) {
    if (m_.factors == FactorKind::kF16)
      at<std::uint16_t>(offset)[lane] = float_to_fp16(value);  // came from fp16: exact
    else
      at<float>(offset)[lane] = value;
  }

  static float element(const Tensor& tensor, std::int64_t index) {
    float value = 0.0F;
    const std::size_t offset = static_cast<std::size_t>(index) * size_of(tensor.dtype());
    convert_to_float(tensor.dtype(), tensor.data() + offset, &value, 1);
    return value;
  }

  int sub_value(const Tensor& tensor, std::int64_t row, std::int64_t group, bool is_signed) const {
    std::uint8_t raw = 0;
    unpack_bits(spec_.sub_bits, tensor.data() + row * spec_.sub_bytes(m_.columns), group, 1, &raw);
    if (!is_signed) return raw;
    const int sign = 1 << (spec_.sub_bits - 1);
    return (raw ^ sign) - sign;
  }

  float factor(const Tensor& factors, const Tensor& subs, std::int64_t row, std::int64_t group,
               bool is_signed) const {
    if (!spec_.two_level()) return element(factors, row * spec_.groups(m_.columns) + group);
    const std::int64_t super = (spec_.super_phase + group * spec_.group_size) / spec_.super_size;
    return element(factors, row * spec_.supers(m_.columns) + super) *
           static_cast<float>(sub_value(subs, row, group, is_signed));
  }

  void write_sub(const Tensor& subs, std::int64_t row, std::int64_t lane, std::int64_t offset,
                 bool is_signed, std::int64_t groups) {
    for (std::int64_t group = 0; group < groups; ++group)
      at<std::uint8_t>(offset + group * m_.factor_stride)[lane] =
          static_cast<std::uint8_t>(sub_value(subs, row, group, is_signed));
  }

  void write_supers(const Tensor& factors, std::int64_t row, std::int64_t lane, std::int64_t offset,
                    float sign) {
    const std::int64_t supers = spec_.supers(m_.columns);
    for (std::int64_t super = 0; super < supers; ++super) {
      const float value = sign * element(factors, row * supers + super);
      const std::int64_t place = offset + super * m_.super_stride;
      if (m_.super_half)
        at<std::uint16_t>(place)[lane] = float_to_fp16(value);
      else
        at<float>(place)[lane] = value;
    }
  }

  const QuantizedTensor& weight_;
  const QuantSpec& spec_;
  const PanelMatrix& m_;
  std::byte* panel_;
  std::vector<std::uint8_t> codes_;
  std::vector<float> values_;
};

/// Big weights on huge pages: a sweep over them is a sweep over memory.
std::shared_ptr<std::byte> allocate_weight(std::int64_t bytes) {
  constexpr std::int64_t kHugePage = std::int64_t{2} << 20;
  if (bytes < kHugePage) return allocate_aligned(static_cast<std::size_t>(bytes));
  const auto rounded = static_cast<std::size_t>(round_up(bytes, kHugePage));
  void* memory = std::aligned_alloc(kHugePage, rounded);
  TENON_CHECK(memory != nullptr, ErrorCode::kResourceExhausted,
              "out of memory: {} bytes for packed weights could not be allocated", bytes);
  madvise(memory, rounded, MADV_HUGEPAGE);  // a refusal costs speed alone
  return {static_cast<std::byte*>(memory), [](std::byte* p) { std::free(p); }};
}

void fill_lut(PanelMatrix& m, const QuantizedTensor& weight) {
  const int entries = 1 << std::min(weight.spec.bits, 4);
  if (m.codes == CodeKind::kI4)
    for (int i = 0; i < 16; ++i) m.lut[i] = static_cast<float>(i - m.code_offset);
  if (m.codes == CodeKind::kLut4)
    convert_to_float(weight.codebook.dtype(), weight.codebook.data(), m.lut,
                     static_cast<std::size_t>(entries));
}

}  // namespace

PanelMatrix plan_panels(const QuantSpec& spec, std::int64_t rows, std::int64_t columns) {
  PanelMatrix m;
  m.rows = rows;
  m.columns = columns;
  if (spec.is_float()) {
    plan_float(m, spec.float_type);
  } else if (spec.kind == QuantKind::kScaledFloat) {
    if (!plan_scaled_float(m, spec)) plan_float(m, DataType::kFloat32);
  } else if (plan_codes(m, spec)) {
    plan_factors(m, spec);
    // An fp16 scale (11 bits) times a code of up to 5 bits needs 16 bits: two bf16 terms.
    const bool short_codes = m.codes == CodeKind::kI4 && m.factors == FactorKind::kF16;
    m.exact_terms = short_codes && !m.minimum ? 2 : 3;
  } else {
    plan_float(m, DataType::kFloat32);
  }
  place(m);
  return m;
}

std::int64_t panel_matrix_bytes(const PanelMatrix& matrix) {
  const std::int64_t scales = matrix.row_scaled ? kPanelRows * std::int64_t{sizeof(float)} : 0;
  return matrix.panels * (matrix.panel_bytes + scales);
}

PackedWeight pack_weight(const QuantizedTensor& weight, ThreadPool& pool) {
  PackedWeight packed;
  packed.matrix = plan_panels(weight.spec, weight.rows(), weight.columns());
  PanelMatrix& m = packed.matrix;
  packed.data = allocate_weight(m.panels * m.panel_bytes);
  m.data = packed.data.get();
  fill_lut(m, weight);
  std::byte* data = packed.data.get();
  if (m.row_scaled) {
    packed.row_scales.resize(static_cast<std::size_t>(m.panels * kPanelRows));
    convert_to_float(weight.scale.dtype(), weight.scale.data(), packed.row_scales.data(),
                     static_cast<std::size_t>(m.rows));
  }
  pool.run(m.panels, [&](std::int64_t panel, int) {
    const std::int64_t first = panel * kPanelRows;
    PanelWriter(weight, m, data + panel * m.panel_bytes)
        .write(first, std::min(kPanelRows, m.rows - first));
  });
  return packed;
}

}  // namespace tenon::cpu
