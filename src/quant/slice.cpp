// Cutting and joining quantized tensors along rows and columns.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <vector>

#include "core/check.h"
#include "quant/bit_packing.h"
#include "quant/quantized_tensor.h"

namespace tenon {
namespace {

/// Rows x elements [first, first + count) of a part [all rows, width]: a view where the bytes are
/// in one run, else a copy.
Tensor cut(const Tensor& part, std::int64_t width, Range rows, Range range, Shape shape) {
  const auto size = static_cast<std::int64_t>(size_of(part.dtype()));
  const std::byte* first = part.data() + (rows.begin * width + range.begin) * size;
  if (range.size() == width || rows.size() <= 1 || range.size() == 0)
    return Tensor({first, part.dtype(), std::move(shape)}, std::make_shared<Tensor>(part));
  Tensor copy(part.dtype(), std::move(shape));
  const std::int64_t run = range.size() * size;
  for (std::int64_t row = 0; row < rows.size(); ++row)
    std::memcpy(copy.mutable_data() + row * run, first + row * width * size,
                static_cast<std::size_t>(run));
  return copy;
}

Tensor cut2(const Tensor& part, std::int64_t width, Range rows, Range range) {
  return cut(part, width, rows, range, {rows.size(), range.size()});
}

/// Groups [groups) of packed sub-scales. Nibbles may start in the middle of a byte.
Tensor cut_subs(const QuantSpec& spec, const Tensor& part, std::int64_t all_groups, Range rows,
                Range groups) {
  const std::int64_t width = packed_bytes(spec.sub_bits, all_groups);
  if (spec.sub_bits == 8 || groups.size() == all_groups)
    return cut2(part, width, rows,
                {groups.begin * spec.sub_bits / 8,
                 groups.begin * spec.sub_bits / 8 + packed_bytes(spec.sub_bits, groups.size())});
  const std::int64_t new_width = packed_bytes(spec.sub_bits, groups.size());
  Tensor copy(part.dtype(), {rows.size(), new_width});
  std::vector<std::uint8_t> values(static_cast<std::size_t>(groups.size()));
  for (std::int64_t row = 0; row < rows.size(); ++row) {
    unpack_bits(spec.sub_bits, part.data() + (rows.begin + row) * width, groups.begin,
                groups.size(), values.data());
    pack_bits(spec.sub_bits, values.data(), groups.size(), copy.mutable_data() + row * new_width);
  }
  return copy;
}

Shape sliced_shape(const QuantizedTensor& tensor, Range rows, Range columns) {
  Shape shape = {rows.size(), columns.size()};
  if (tensor.shape.size() <= 1 || rows.size() == tensor.rows()) {
    shape = tensor.shape;
    if (!shape.empty()) shape.back() = columns.size();
  }
  return shape;
}

/// Copies one row's run of `count` elements of a part into the joined part.
void copy_run(const Tensor& from, std::int64_t from_index, Tensor& to, std::int64_t to_index,
              std::int64_t count) {
  const auto size = static_cast<std::int64_t>(size_of(from.dtype()));
  if (count > 0)
    std::memcpy(to.mutable_data() + to_index * size, from.data() + from_index * size,
                static_cast<std::size_t>(count * size));
}

void check_joinable(const QuantizedTensor& first, const QuantizedTensor& part, int axis,
                    std::int64_t columns_before, std::string_view name) {
  QuantSpec expected = first.spec;
  if (axis == 1 && expected.two_level())
    expected.super_phase = (first.spec.super_phase + columns_before) % expected.super_size;
  TENON_CHECK(part.spec == expected, ErrorCode::kCorrupt,
              "{}: its parts differ in format: expected {}, got {}", name, to_string(expected),
              to_string(part.spec));
  Shape shape = first.shape;
  const std::size_t joined = axis == 0 ? 0 : shape.size() - 1;
  bool same = !shape.empty() && shape.size() == part.shape.size();
  if (same) {
    shape[joined] = part.shape[joined];
    same = shape == part.shape;
  }
  TENON_CHECK(same, ErrorCode::kCorrupt, "{}: parts of shapes {} and {} cannot be joined along {}",
              name, to_string(first.shape), to_string(part.shape), axis == 0 ? "rows" : "columns");
  if (first.spec.kind != QuantKind::kCodebook) return;
  TENON_CHECK(first.codebook.dtype() == part.codebook.dtype() &&
                  std::ranges::equal(first.codebook.view().span(), part.codebook.view().span()),
              ErrorCode::kCorrupt, "{}: its parts have different codebooks", name);
}

/// Joins scales (or minima) along columns. A factor that both sides hold must be the same.
void join_factors(const Tensor& from, std::int64_t from_width, Tensor& to, std::int64_t to_width,
                  std::int64_t at, bool shares_first, std::int64_t rows, std::string_view name) {
  const auto size = size_of(from.dtype());
  for (std::int64_t row = 0; row < rows; ++row) {
    if (shares_first)
      TENON_CHECK(
          std::memcmp(from.data() + static_cast<std::size_t>(row * from_width) * size,
                      to.data() + static_cast<std::size_t>(row * to_width + at) * size, size) == 0,
          ErrorCode::kCorrupt,
          "{}: row {}: two parts hold different scales of one group or super-block", name, row);
    copy_run(from, row * from_width, to, row * to_width + at, from_width);
  }
}

void join_subs(int bits, const Tensor& from, std::int64_t from_groups, Tensor& to,
               std::int64_t to_groups, std::int64_t at, std::int64_t rows) {
  const std::int64_t from_width = packed_bytes(bits, from_groups);
  const std::int64_t to_width = packed_bytes(bits, to_groups);
  std::vector<std::uint8_t> values(static_cast<std::size_t>(to_groups));
  for (std::int64_t row = 0; row < rows; ++row) {
    std::byte* out = to.mutable_data() + row * to_width;
    unpack_bits(bits, out, 0, to_groups, values.data());
    unpack_bits(bits, from.data() + row * from_width, 0, from_groups, values.data() + at);
    pack_bits(bits, values.data(), to_groups, out);
  }
}

void join_quantized(const QuantizedTensor& part, std::int64_t column, QuantizedTensor& joined,
                    std::string_view name) {
  const QuantSpec& spec = joined.spec;
  const std::int64_t rows = joined.rows();
  const std::int64_t all = joined.columns();
  const std::int64_t count = part.columns();
  if (count == 0) return;
  TENON_CHECK(column * spec.bits % 8 == 0, ErrorCode::kCorrupt,
              "{}: a part starts at column {}, in the middle of a byte of codes", name, column);
  const std::int64_t width = spec.code_bytes(count);
  for (std::int64_t row = 0; row < rows; ++row)
    copy_run(part.codes, row * width, joined.codes,
             row * spec.code_bytes(all) + column * spec.bits / 8, width);
  const bool two = spec.two_level();
  std::int64_t at = spec.group_size == 0 ? 0 : column / spec.group_size;
  const std::int64_t group = at;
  bool shares = spec.group_size == 0 && column > 0;
  if (two) {
    at = (spec.super_phase + column) / spec.super_size;
    shares = column > 0 && part.spec.super_phase != 0;
  }
  const std::int64_t from_width = two ? part.spec.supers(count) : spec.groups(count);
  const std::int64_t to_width = two ? spec.supers(all) : spec.groups(all);
  join_factors(part.scale, from_width, joined.scale, to_width, at, shares, rows, name);
  if (spec.has_minimum)
    join_factors(part.minimum, from_width, joined.minimum, to_width, at, shares, rows, name);
  if (!two) return;
  join_subs(spec.sub_bits, part.sub_scale, spec.groups(count), joined.sub_scale, spec.groups(all),
            group, rows);
  if (spec.has_minimum)
    join_subs(spec.sub_bits, part.sub_minimum, spec.groups(count), joined.sub_minimum,
              spec.groups(all), group, rows);
}

QuantizedTensor join_rows(std::span<const QuantizedTensor> parts, QuantizedTensor joined) {
  std::int64_t row = 0;
  const auto append = [&](Tensor QuantizedTensor::*member, const QuantizedTensor& part) {
    const Tensor& from = part.*member;
    if (from.data() == nullptr) return;
    const std::int64_t width = part.rows() == 0 ? 0 : from.view().elements() / part.rows();
    copy_run(from, 0, joined.*member, row * width, from.view().elements());
  };
  for (const QuantizedTensor& part : parts) {
    for (auto member :
         {&QuantizedTensor::codes, &QuantizedTensor::scale, &QuantizedTensor::sub_scale,
          &QuantizedTensor::minimum, &QuantizedTensor::sub_minimum})
      append(member, part);
    row += part.rows();
  }
  return joined;
}

}  // namespace

QuantizedTensor slice(const QuantizedTensor& tensor, Range rows, Range columns) {
  const QuantSpec& spec = tensor.spec;
  const std::int64_t all = tensor.columns();
  const auto aligned = [&](std::int64_t at) { return at % spec.column_unit() == 0 || at == all; };
  TENON_CHECK(
      rows.begin >= 0 && rows.begin <= rows.end && rows.end <= tensor.rows() &&
          columns.begin >= 0 && columns.begin <= columns.end && columns.end <= all &&
          aligned(columns.begin) && aligned(columns.end),
      ErrorCode::kInvalidArgument,
      "rows {} … {}, columns {} … {} cannot be cut out of a tensor {} ({}): columns are cut "
      "at multiples of {}",
      rows.begin, rows.end, columns.begin, columns.end, to_string(tensor.shape), to_string(spec),
      spec.column_unit());
  QuantizedTensor part;
  part.spec = spec;
  part.shape = sliced_shape(tensor, rows, columns);
  if (spec.is_float()) {
    part.codes = cut(tensor.codes, all, rows, columns, part.shape);
    return part;
  }
  const std::int64_t first_byte = columns.begin * spec.bits / 8;
  part.codes = cut2(tensor.codes, spec.code_bytes(all), rows,
                    {first_byte, first_byte + spec.code_bytes(columns.size())});
  part.codebook = tensor.codebook;
  Range groups = {0, 1};
  if (spec.group_size > 0)
    groups = {columns.begin / spec.group_size, columns.end / spec.group_size};
  Range factors = groups;
  std::int64_t width = spec.groups(all);
  if (spec.two_level()) {
    const std::int64_t start = spec.super_phase + columns.begin;
    part.spec.super_phase = start % spec.super_size;
    factors.begin = start / spec.super_size;
    factors.end = factors.begin + part.spec.supers(columns.size());
    width = spec.supers(all);
    part.sub_scale = cut_subs(spec, tensor.sub_scale, spec.groups(all), rows, groups);
    if (spec.has_minimum)
      part.sub_minimum = cut_subs(spec, tensor.sub_minimum, spec.groups(all), rows, groups);
  }
  part.scale = cut2(tensor.scale, width, rows, factors);
  if (spec.has_minimum) part.minimum = cut2(tensor.minimum, width, rows, factors);
  return part;
}

QuantizedTensor concatenate(std::span<const QuantizedTensor> parts, int axis,
                            std::string_view name) {
  TENON_CHECK(!parts.empty() && (axis == 0 || axis == 1), ErrorCode::kInvalidArgument,
              "{}: nothing to join, or an axis other than 0 (rows) and 1 (columns)", name);
  const QuantizedTensor& first = parts.front();
  if (first.shape.size() == 1) axis = 1;
  Shape shape = first.shape;
  std::int64_t extent = 0;
  for (const QuantizedTensor& part : parts) {
    check_joinable(first, part, axis, axis == 1 ? extent : 0, name);
    extent += axis == 1 ? part.shape.back() : part.shape.front();
  }
  (axis == 1 ? shape.back() : shape.front()) = extent;
  QuantizedTensor joined = QuantizedTensor::empty(first.spec, std::move(shape), name);
  joined.codebook = first.codebook;
  if (axis == 0) return join_rows(parts, std::move(joined));
  std::int64_t column = 0;
  const std::int64_t rows = joined.rows();
  for (const QuantizedTensor& part : parts) {
    const std::int64_t count = part.columns();
    if (first.spec.is_float())
      for (std::int64_t row = 0; row < rows; ++row)
        copy_run(part.codes, row * count, joined.codes, row * extent + column, count);
    else
      join_quantized(part, column, joined, name);
    column += count;
  }
  return joined;
}

}  // namespace tenon
