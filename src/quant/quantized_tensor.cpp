// The parts of a quantized tensor: their shapes, and what their numbers mean.
// SPDX-License-Identifier: Apache-2.0
#include "quant/quantized_tensor.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "core/check.h"
#include "core/half.h"
#include "quant/bit_packing.h"

namespace tenon {
namespace {

void check_part(const Tensor& part, DataType type, const Shape& shape, std::string_view name,
                const char* which) {
  TENON_CHECK(part.dtype() == type && part.shape() == shape &&
                  (part.data() != nullptr || element_count(shape) == 0),
              ErrorCode::kCorrupt, "{}: its {} should be {} {}, but is {} {}", name, which,
              to_string(type), to_string(shape), to_string(part.dtype()), to_string(part.shape()));
}

void check_absent(const Tensor& part, std::string_view name, const char* which) {
  TENON_CHECK(part.data() == nullptr, ErrorCode::kCorrupt,
              "{}: has a {}, which its format does not use", name, which);
}

float float_at(const Tensor& tensor, std::int64_t index) {
  float value = 0.0F;
  const auto offset = static_cast<std::size_t>(index) * size_of(tensor.dtype());
  convert_to_float(tensor.dtype(), tensor.data() + offset, &value, 1);
  return value;
}

float sub_value(const QuantSpec& spec, const std::byte* row, std::int64_t group, bool is_signed) {
  std::uint8_t raw = 0;
  unpack_bits(spec.sub_bits, row, group, 1, &raw);
  if (!is_signed) return static_cast<float>(raw);
  const int half = 1 << (spec.sub_bits - 1);
  return static_cast<float>((raw ^ half) - half);  // sign extension
}

/// Scale and minimum of one group, each product rounded to fp32.
struct Factors {
  float scale = 1.0F;
  float minimum = 0.0F;
};

Factors group_factors(const QuantizedTensor& tensor, std::int64_t row, std::int64_t group) {
  const QuantSpec& spec = tensor.spec;
  const std::int64_t columns = tensor.columns();
  Factors factors;
  if (!spec.two_level()) {
    const std::int64_t index = row * spec.groups(columns) + group;
    factors.scale = float_at(tensor.scale, index);
    if (spec.has_minimum) factors.minimum = float_at(tensor.minimum, index);
    return factors;
  }
  const std::int64_t super = (spec.super_phase + group * spec.group_size) / spec.super_size;
  const std::int64_t index = row * spec.supers(columns) + super;
  const std::int64_t sub_row = row * spec.sub_bytes(columns);
  factors.scale = float_at(tensor.scale, index) *
                  sub_value(spec, tensor.sub_scale.data() + sub_row, group, spec.sub_signed);
  if (spec.has_minimum)
    factors.minimum = -(float_at(tensor.minimum, index) *
                        sub_value(spec, tensor.sub_minimum.data() + sub_row, group, false));
  return factors;
}

void dequantize_group(const QuantizedTensor& tensor, const Factors& factors,
                      const std::uint8_t* codes, std::int64_t count, float* out) {
  const QuantSpec& spec = tensor.spec;
  if (spec.kind == QuantKind::kScaledFloat) {
    convert_to_float(spec.float_type, codes, out, static_cast<std::size_t>(count));
    for (std::int64_t i = 0; i < count; ++i) out[i] *= factors.scale;
    return;
  }
  for (std::int64_t i = 0; i < count; ++i) {
    float code = 0.0F;
    if (spec.kind == QuantKind::kCodebook)
      code = float_at(tensor.codebook, codes[i]);
    else if (spec.signed_codes())
      code = static_cast<float>(static_cast<std::int8_t>(codes[i]));
    else
      code = static_cast<float>(static_cast<int>(codes[i]) - spec.code_offset);
    const float product = factors.scale * code;
    out[i] = spec.has_minimum ? product + factors.minimum : product;
  }
}

Shape part_shape(const QuantSpec& spec, std::int64_t rows, std::int64_t columns) {
  return {rows, spec.two_level() ? spec.supers(columns) : spec.groups(columns)};
}

}  // namespace

QuantizedTensor QuantizedTensor::from(Tensor plain) {
  QuantizedTensor tensor;
  tensor.spec = QuantSpec::floating(plain.dtype());
  tensor.shape = plain.shape();
  tensor.codes = std::move(plain);
  return tensor;
}

QuantizedTensor QuantizedTensor::empty(const QuantSpec& spec, Shape shape, std::string_view name) {
  spec.check(name);
  if (spec.is_float()) return from(Tensor(spec.float_type, std::move(shape)));
  QuantizedTensor tensor;
  tensor.spec = spec;
  tensor.shape = std::move(shape);
  element_count(tensor.shape, name);
  const std::int64_t rows = tensor.rows();
  const std::int64_t columns = tensor.columns();
  TENON_CHECK(spec.group_size == 0 || columns % spec.group_size == 0, ErrorCode::kCorrupt,
              "{}: its {} columns are no multiple of the quantization group of {}", name, columns,
              spec.group_size);
  const Shape factors = part_shape(spec, rows, columns);
  const Shape subs = {rows, spec.sub_bytes(columns)};
  tensor.codes = Tensor(DataType::kUInt8, {rows, spec.code_bytes(columns)});
  tensor.scale = Tensor(spec.scale_type, factors);
  if (spec.two_level()) tensor.sub_scale = Tensor(DataType::kUInt8, subs);
  if (spec.has_minimum) tensor.minimum = Tensor(spec.scale_type, factors);
  if (spec.has_minimum && spec.two_level()) tensor.sub_minimum = Tensor(DataType::kUInt8, subs);
  if (spec.kind == QuantKind::kCodebook)
    tensor.codebook = Tensor(DataType::kInt8, {std::int64_t{1} << spec.bits});
  return tensor;
}

std::int64_t QuantizedTensor::rows() const {
  std::int64_t count = 1;
  bool overflow = false;
  for (std::size_t i = 0; i + 1 < shape.size(); ++i)
    overflow |= __builtin_mul_overflow(count, shape[i], &count);
  TENON_CHECK(!overflow, ErrorCode::kCorrupt, "a tensor of shape {} has more rows than 2^63",
              to_string(shape));
  return count;
}

std::int64_t QuantizedTensor::columns() const { return shape.empty() ? 1 : shape.back(); }

std::size_t QuantizedTensor::bytes() const {
  std::size_t sum = 0;
  for (const Tensor* part : {&codes, &scale, &sub_scale, &minimum, &sub_minimum, &codebook})
    if (part->data() != nullptr) sum += part->bytes();
  return sum;
}

QuantizedTensor plain_tensor(DataType type, Shape shape, std::span<const std::byte> bytes,
                             std::shared_ptr<const void> owner) {
  TENON_ASSERT(static_cast<std::uint64_t>(byte_count(type, shape)) == bytes.size());
  if (reinterpret_cast<std::uintptr_t>(bytes.data()) % size_of(type) == 0)
    return QuantizedTensor::from(Tensor({bytes.data(), type, std::move(shape)}, std::move(owner)));
  Tensor copy(type, std::move(shape));
  std::memcpy(copy.mutable_data(), bytes.data(), bytes.size());
  return QuantizedTensor::from(std::move(copy));
}

void validate(const QuantizedTensor& tensor, std::string_view name) {
  const QuantSpec& spec = tensor.spec;
  spec.check(name);
  element_count(tensor.shape, name);
  if (spec.is_float()) {
    check_part(tensor.codes, spec.float_type, tensor.shape, name, "data");
  } else {
    const std::int64_t rows = tensor.rows();
    const std::int64_t columns = tensor.columns();
    TENON_CHECK(spec.group_size == 0 || columns % spec.group_size == 0, ErrorCode::kCorrupt,
                "{}: its {} columns are no multiple of the quantization group of {}", name, columns,
                spec.group_size);
    check_part(tensor.codes, DataType::kUInt8, {rows, spec.code_bytes(columns)}, name, "codes");
    check_part(tensor.scale, spec.scale_type, part_shape(spec, rows, columns), name, "scale");
  }
  const Shape factors = part_shape(spec, tensor.rows(), tensor.columns());
  const Shape subs = {tensor.rows(), spec.sub_bytes(tensor.columns())};
  if (spec.is_float()) check_absent(tensor.scale, name, "scale");
  if (spec.two_level())
    check_part(tensor.sub_scale, DataType::kUInt8, subs, name, "sub_scale");
  else
    check_absent(tensor.sub_scale, name, "sub_scale");
  if (spec.has_minimum)
    check_part(tensor.minimum, spec.scale_type, factors, name, "minimum");
  else
    check_absent(tensor.minimum, name, "minimum");
  if (spec.has_minimum && spec.two_level())
    check_part(tensor.sub_minimum, DataType::kUInt8, subs, name, "sub_minimum");
  else
    check_absent(tensor.sub_minimum, name, "sub_minimum");
  if (spec.kind == QuantKind::kCodebook)
    check_part(tensor.codebook,
               tensor.codebook.dtype() == DataType::kInt8 ? DataType::kInt8 : DataType::kFloat32,
               {std::int64_t{1} << spec.bits}, name, "codebook");
  else
    check_absent(tensor.codebook, name, "codebook");
}

void dequantize_row(const QuantizedTensor& tensor, std::int64_t row, std::int64_t begin,
                    std::int64_t end, float* out) {
  const QuantSpec& spec = tensor.spec;
  const std::int64_t columns = tensor.columns();
  TENON_ASSERT(row >= 0 && row < tensor.rows() && begin >= 0 && begin <= end && end <= columns);
  if (spec.is_float()) {
    const std::size_t offset =
        static_cast<std::size_t>(row * columns + begin) * size_of(spec.float_type);
    convert_to_float(spec.float_type, tensor.codes.data() + offset, out,
                     static_cast<std::size_t>(end - begin));
    return;
  }
  const std::byte* packed = tensor.codes.data() + row * spec.code_bytes(columns);
  const std::int64_t group_size = spec.group_size == 0 ? columns : spec.group_size;
  std::array<std::uint8_t, 256> codes;
  for (std::int64_t column = begin; column < end;) {
    const std::int64_t group = column / group_size;
    const std::int64_t group_end = std::min(end, (group + 1) * group_size);
    const Factors factors = group_factors(tensor, row, group);
    while (column < group_end) {
      const auto count = std::min<std::int64_t>(group_end - column, std::ssize(codes));
      unpack_bits(spec.bits, packed, column, count, codes.data());
      dequantize_group(tensor, factors, codes.data(), count, out + (column - begin));
      column += count;
    }
  }
}

Tensor dequantize(const QuantizedTensor& tensor) {
  Tensor result(DataType::kFloat32, tensor.shape);
  const std::int64_t columns = tensor.columns();
  auto* out = result.mutable_as<float>();
  for (std::int64_t row = 0; row < tensor.rows() && columns > 0; ++row)
    dequantize_row(tensor, row, 0, columns, out + row * columns);
  return result;
}

}  // namespace tenon
