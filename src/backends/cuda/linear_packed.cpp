// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/linear_packed.h"

#include <fmt/core.h>

#include <bit>
#include <cstring>
#include <limits>

#include "backends/cuda/linear_cublaslt.h"
#include "core/check.h"
#include "core/half.h"

namespace tenon::cuda {
namespace {

constexpr std::int64_t kLineBytes = 64;
constexpr std::int64_t kRunColumns = 32;
constexpr std::int64_t kScaleColumns = 128;  // that ScaleStep::kLine counts

std::int64_t rounded_up(std::int64_t value, std::int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

// Four codes of int8 as the bytes c0 c2 c1 c3.
std::uint32_t arrange_int8(std::uint32_t codes) {
  return (codes & 0xFF0000FFU) | ((codes & 0x0000FF00U) << 8) | ((codes & 0x00FF0000U) >> 8);
}

// Eight codes of int4: nibble i is c(2 i), nibble 4 + i is c(2 i + 1).
std::uint32_t arrange_int4(std::uint32_t codes) {
  const auto gather = [](std::uint32_t even) {  // nibbles 0, 2, 4, 6 to 0 … 3
    even &= 0x0F0F0F0FU;
    even = (even | even >> 4) & 0x00FF00FFU;
    return (even | even >> 8) & 0x0000FFFFU;
  };
  return gather(codes) | gather(codes >> 4) << 16;
}

// Word `word` (0 … 15) of a line: its first column within the line.
std::int64_t column_of_word(CodeKind kind, int word) {
  const int lane = word / 4;
  const int part = word % 4;
  if (kind == CodeKind::kInt4) return kRunColumns * part + 8 * lane;
  return kRunColumns * (part / 2) + 8 * lane + 4 * (part % 2);
}

std::string joined_names(const NodeView& node, std::size_t count) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i) out += node.weights[i].name + " ";
  return out;
}

// The weight, and its row, that row `row` of the joined matrix is.
struct Place {
  const QuantizedTensor* weight = nullptr;
  std::int64_t row = 0;
};
Place place_of(std::span<const QuantizedTensor> weights, std::int64_t row) {
  std::size_t i = 0;
  while (row >= weights[i].rows()) row -= weights[i++].rows();
  return {&weights[i], row};
}

std::uint32_t packed_word(const PackedMatrix& m, const QuantizedTensor& weight,
                          const std::byte* codes, std::int64_t column) {
  if (column >= m.columns) return 0;
  std::uint32_t word = 0;
  const bool four = m.kind == CodeKind::kInt4;
  // Columns are a multiple of 8: a word is there as a whole.
  std::memcpy(&word, codes + (four ? column / 2 : column), sizeof(word));
  if (four) return arrange_int4(word);
  if (m.kind == CodeKind::kFloat8) return word;
  return arrange_int8(weight.spec.signed_codes() ? word : word ^ 0x80808080U);
}

void fill_codes(const PackedMatrix& m, std::span<const QuantizedTensor> weights, std::int64_t begin,
                std::span<std::byte> out) {
  const std::int64_t lines = m.row_bytes / kLineBytes;
  for (std::size_t at = 0; at < out.size(); at += kLineBytes) {
    const std::int64_t line = (begin + static_cast<std::int64_t>(at)) / kLineBytes;
    const Place place = place_of(weights, line / lines);
    const std::byte* codes =
        place.weight->codes.data() +
        place.row * static_cast<std::int64_t>(place.weight->codes.bytes()) / place.weight->rows();
    for (int word = 0; word < 16; ++word) {
      const std::uint32_t packed =
          packed_word(m, *place.weight, codes,
                      line % lines * line_columns(m.kind) + column_of_word(m.kind, word));
      std::memcpy(out.data() + at + static_cast<std::size_t>(word) * 4, &packed, sizeof(packed));
    }
  }
}

std::uint16_t raw_16(const Tensor& tensor, std::int64_t index) {
  std::uint16_t bits = 0;
  std::memcpy(&bits, tensor.data() + index * 2, sizeof(bits));
  return bits;
}

float scalar(const Tensor& tensor, std::int64_t index) {
  float out = 0.F;
  convert_to_float(tensor.dtype(),
                   tensor.data() + index * static_cast<std::int64_t>(size_of(tensor.dtype())), &out,
                   1);
  return out;
}

float sub_factor(const QuantSpec& spec, const Tensor& subs, std::int64_t row, std::int64_t group,
                 std::int64_t columns, bool is_signed) {
  const auto* bytes =
      reinterpret_cast<const std::uint8_t*>(subs.data()) + row * spec.sub_bytes(columns);
  if (spec.sub_bits == 8)
    return is_signed ? static_cast<float>(static_cast<std::int8_t>(bytes[group]))
                     : static_cast<float>(bytes[group]);
  const int nibble = (bytes[group / 2] >> (4 * (group % 2))) & 15;
  return static_cast<float>(is_signed && nibble > 7 ? nibble - 16 : nibble);
}

// What a group's codes are multiplied with, or what is added to the products.
float wide_factor(const QuantizedTensor& w, std::int64_t row, std::int64_t group, bool minimum) {
  const QuantSpec& spec = w.spec;
  const std::int64_t columns = w.columns();
  const Tensor& first = minimum ? w.minimum : w.scale;
  if (!spec.two_level()) return scalar(first, row * spec.groups(columns) + group);
  const std::int64_t super = (spec.super_phase + group * spec.group_size) / spec.super_size;
  const float factor = scalar(first, row * spec.supers(columns) + super);
  if (!minimum) return factor * sub_factor(spec, w.sub_scale, row, group, columns, spec.sub_signed);
  return -(factor * sub_factor(spec, w.sub_minimum, row, group, columns, false));
}

void fill_scales(const PackedMatrix& m, std::span<const QuantizedTensor> weights, bool minimum,
                 std::int64_t begin, std::span<std::byte> out) {
  const auto size = static_cast<std::int64_t>(size_of(m.scale_type));
  for (std::size_t at = 0; at < out.size(); at += static_cast<std::size_t>(size)) {
    const std::int64_t entry = (begin + static_cast<std::int64_t>(at)) / size;
    const Place place = place_of(weights, entry / m.scale_stride);
    const QuantSpec& spec = place.weight->spec;
    const std::int64_t group_size = spec.group_size == 0 ? m.columns : spec.group_size;
    const std::int64_t column = m.step == ScaleStep::kRow ? 0
                                : m.step == ScaleStep::kRun
                                    ? entry % m.scale_stride * kRunColumns
                                    : entry % m.scale_stride * (kScaleColumns << m.line_shift);
    std::uint32_t bits = 0;
    if (column < m.columns) {
      const std::int64_t group = column / group_size;
      bits =
          size == 2
              ? raw_16(minimum ? place.weight->minimum : place.weight->scale,
                       place.row * spec.groups(m.columns) + group)
              : std::bit_cast<std::uint32_t>(wide_factor(*place.weight, place.row, group, minimum));
    }
    std::memcpy(out.data() + at, &bits, static_cast<std::size_t>(size));
  }
}

std::string scaled_float_form(const QuantSpec& spec, PackedMatrix& m) {
  m.kind = CodeKind::kFloat8;
  if (spec.float_type != DataType::kFloat8E4M3) return fmt::format("weight of {}", to_string(spec));
  if (spec.group_size != 0 && spec.group_size < m.columns)
    return fmt::format("fp8 numbers in groups of {} columns", spec.group_size);
  m.scale_stride = 1;
  return {};
}

std::string integer_form(const QuantSpec& spec, PackedMatrix& m) {
  m.kind = spec.bits == 4 ? CodeKind::kInt4 : CodeKind::kInt8;
  const bool codes = spec.bits == 4 || (spec.bits == 8 && !spec.has_minimum &&
                                        (spec.code_offset == 0 || spec.code_offset == 128));
  if (!codes) return "codes other than int4 and int8";
  m.code_offset = static_cast<std::uint32_t>(spec.bits == 4 ? spec.code_offset : 0);
  m.code_offset += 0x4300U;  // whose last bit is worth 1
  m.scale_type = spec.scale_type;
  const std::int64_t chunks = rounded_up(m.columns, kScaleColumns) / kScaleColumns;
  if (spec.two_level()) m.scale_type = DataType::kFloat32;
  if (spec.group_size == 0 || spec.group_size >= m.columns) {
    if (spec.has_minimum) return "a minimum for whole rows";
    m.step = ScaleStep::kRow;
    m.scale_type = DataType::kFloat32;
    m.scale_stride = 1;
  } else if (spec.group_size == 32 || spec.group_size == 64) {
    m.step = ScaleStep::kRun;
    m.scale_stride = static_cast<std::int32_t>(4 * chunks);
  } else if (spec.group_size % kScaleColumns == 0 &&
             std::has_single_bit(static_cast<std::uint64_t>(spec.group_size))) {
    m.step = ScaleStep::kLine;
    m.line_shift = std::countr_zero(static_cast<std::uint64_t>(spec.group_size / kScaleColumns));
    m.scale_stride = static_cast<std::int32_t>(m.columns / spec.group_size);
  } else {
    return fmt::format("groups of {} columns", spec.group_size);
  }
  return {};
}

}  // namespace

PackedForm packed_form(const NodeView& node, std::size_t count, DataType x_type) {
  PackedForm out;
  PackedMatrix& m = out.matrix;
  const QuantSpec& spec = node.weights[0].spec;
  m.columns = node.weights[0].shape[1];
  for (std::size_t i = 0; i < count; ++i) {
    if (node.weights[i].spec != spec) {
      out.why = "matrices of different forms";
      return out;
    }
    m.rows += node.weights[i].shape[0];
  }
  if (spec.is_float() && spec.float_type == x_type) {
    m.float_type = x_type;
    m.row_bytes = m.columns * 2;
  } else if (x_type != DataType::kBFloat16) {
    out.why = fmt::format("weight of {}, x stored as {}", to_string(spec), to_string(x_type));
  } else if (spec.is_float()) {
    m.kind = CodeKind::kFloat8;
    if (spec.float_type != DataType::kFloat8E4M3)
      out.why = fmt::format("weight of {}", to_string(spec));
  } else if (spec.kind == QuantKind::kScaledFloat) {
    out.why = scaled_float_form(spec, m);
  } else if (spec.kind != QuantKind::kInteger) {
    out.why = fmt::format("weight of {}", to_string(spec));
  } else {
    out.why = integer_form(spec, m);
  }
  if (m.kind != CodeKind::k16Bit)
    m.row_bytes = rounded_up(m.columns, line_columns(m.kind)) / line_columns(m.kind) * kLineBytes;
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  if (m.columns % 8 != 0)
    out.why = fmt::format("{} columns are no multiple of 8", m.columns);
  else if (m.columns == 0 || m.rows == 0 || m.row_bytes > kMost ||
           m.rows * std::max(m.scale_stride, 32) > kMost)
    out.why = fmt::format("[{}, {}] is empty or too large", m.rows, m.columns);
  return out;
}

namespace {

PackedNeed codes_need(const NodeView& node, std::size_t count, const PackedMatrix& m) {
  return {joined_names(node, count) + "in lines", m.rows * m.row_bytes};
}
PackedNeed scale_need(const NodeView& node, std::size_t count, const PackedMatrix& m,
                      bool minimum) {
  return {joined_names(node, count) + (minimum ? "minima of lines" : "scales of lines"),
          m.rows * m.scale_stride * static_cast<std::int64_t>(size_of(m.scale_type))};
}

}  // namespace

std::vector<PackedNeed> packed_needs(const NodeView& node, std::size_t count,
                                     const PackedMatrix& form) {
  if (form.kind == CodeKind::k16Bit) return {joined_need(node, count)};
  std::vector<PackedNeed> needs = {codes_need(node, count, form)};
  if (form.scale_stride > 0) needs.push_back(scale_need(node, count, form, false));
  if (node.weights[0].spec.has_minimum) needs.push_back(scale_need(node, count, form, true));
  return needs;
}

PackedMatrix load_packed(const NodeView& node, const Weights& weights, std::size_t count,
                         PackedMatrix form, LoadContext& load) {
  if (form.kind == CodeKind::k16Bit) {
    form.codes = reinterpret_cast<const std::uint8_t*>(load_joined(node, weights, count, load));
    return form;
  }
  const std::span<const QuantizedTensor> parts(weights.data(), count);
  const auto get = [&](const PackedNeed& need, const LoadContext::Fill& fill) {
    return reinterpret_cast<const std::uint8_t*>(load.get(need.key, need.bytes, fill));
  };
  form.codes = get(codes_need(node, count, form),
                   [&](std::int64_t begin, auto out) { fill_codes(form, parts, begin, out); });
  if (form.scale_stride > 0)
    form.scale = get(scale_need(node, count, form, false), [&](std::int64_t begin, auto out) {
      fill_scales(form, parts, false, begin, out);
    });
  if (node.weights[0].spec.has_minimum)
    form.minimum = get(scale_need(node, count, form, true), [&](std::int64_t begin, auto out) {
      fill_scales(form, parts, true, begin, out);
    });
  return form;
}

}  // namespace tenon::cuda
