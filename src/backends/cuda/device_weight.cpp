// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/device_weight.h"

#include <fmt/core.h>

#include <array>
#include <cstring>

#include "core/check.h"

namespace tenon::cuda {
namespace {

constexpr std::int64_t kCodebookEntryBytes = 4;  // int8 or float32: the files decide, the plan not

std::int64_t rows_of(const WeightUse& use) {
  return element_count(Shape(use.shape.begin(), use.shape.end() - 1), use.name);
}

std::string float_key(const WeightUse& use, float offset) {
  return fmt::format("{} float32 plus {}", use.name, offset);
}

std::string constant_key(std::span<const float> values) {
  std::string key = "constant ";
  key.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  return key;
}

// The tensors of a part, one after another, each at a multiple of kDeviceAlignment.
struct PartSizes {
  std::int64_t codes = 0;
  std::int64_t scale = 0;  // minimum has the same
  std::int64_t sub = 0;    // sub_minimum has the same
  std::int64_t codebook = 0;
  std::int64_t total = 0;
};

PartSizes part_sizes(const WeightUse& use) {
  const QuantSpec& spec = use.spec;
  const std::int64_t rows = rows_of(use);
  const std::int64_t columns = use.shape.empty() ? 1 : use.shape.back();
  PartSizes out;
  out.codes = aligned(element_count({rows, spec.code_bytes(columns)}, use.name));
  if (!spec.is_float()) {
    const std::int64_t scales = spec.two_level() ? spec.supers(columns) : spec.groups(columns);
    out.scale = aligned(byte_count(spec.scale_type, {rows, scales}, use.name));
    out.sub = aligned(element_count({rows, spec.sub_bytes(columns)}, use.name));
    if (spec.kind == QuantKind::kCodebook) out.codebook = aligned(kCodebookEntryBytes << spec.bits);
  }
  out.total = out.codes + (spec.has_minimum ? 2 : 1) * (out.scale + out.sub) + out.codebook;
  return out;
}

// Copies what of the sources lies in [begin, begin + out.size()); gaps stay as they are.
struct Piece {
  std::int64_t at = 0;
  const Tensor* tensor = nullptr;
};

void copy_pieces(std::span<const Piece> pieces, std::int64_t begin, std::span<std::byte> out) {
  const std::int64_t end = begin + static_cast<std::int64_t>(out.size());
  for (const Piece& piece : pieces) {
    if (piece.tensor->data() == nullptr) continue;
    const std::int64_t first = std::max(begin, piece.at);
    const std::int64_t last =
        std::min(end, piece.at + static_cast<std::int64_t>(piece.tensor->bytes()));
    if (first < last)
      std::memcpy(out.data() + (first - begin), piece.tensor->data() + (first - piece.at),
                  static_cast<std::size_t>(last - first));
  }
}

}  // namespace

PackedNeed canonical_need(const WeightUse& use) {
  return {use.name + " canonical", part_sizes(use).total};
}

QuantizedWeight upload_canonical(const WeightUse& use, const QuantizedTensor& weight,
                                 LoadContext& load) {
  const PartSizes sizes = part_sizes(use);
  const QuantSpec& spec = weight.spec;
  std::vector<Piece> pieces;
  std::int64_t next = 0;
  const auto place = [&](const Tensor& tensor, std::int64_t bytes) {
    pieces.push_back({next, &tensor});
    next += bytes;
    return next - bytes;
  };
  const std::int64_t codes = place(weight.codes, sizes.codes);
  const std::int64_t scale = place(weight.scale, sizes.scale);
  const std::int64_t sub_scale = place(weight.sub_scale, sizes.sub);
  const std::int64_t minimum = place(weight.minimum, spec.has_minimum ? sizes.scale : 0);
  const std::int64_t sub_minimum = place(weight.sub_minimum, spec.has_minimum ? sizes.sub : 0);
  const std::int64_t codebook = place(weight.codebook, sizes.codebook);
  TENON_ASSERT(next == sizes.total);
  const PackedNeed need = canonical_need(use);
  std::byte* const base = load.get(
      need.key, need.bytes,
      [&](std::int64_t begin, std::span<std::byte> out) { copy_pieces(pieces, begin, out); });
  const auto bytes_at = [base](std::int64_t offset) {
    return reinterpret_cast<const std::uint8_t*>(base) + offset;
  };
  QuantizedWeight out;
  out.plain = spec.is_float();
  out.float_type = spec.float_type;
  out.rows = weight.rows();
  out.columns = weight.columns();
  out.codes = bytes_at(codes);
  if (out.plain) return out;
  out.codebook_kind = spec.kind == QuantKind::kCodebook;
  out.scaled_float = spec.kind == QuantKind::kScaledFloat;
  out.signed_codes = spec.signed_codes();
  out.has_minimum = spec.has_minimum;
  out.sub_signed = spec.sub_signed;
  out.codebook_int8 = out.codebook_kind && weight.codebook.dtype() == DataType::kInt8;
  out.scale_type = spec.scale_type;
  out.bits = spec.bits;
  out.code_offset = spec.code_offset;
  out.sub_bits = spec.sub_bits;
  out.group_size = spec.group_size == 0 ? std::max<std::int64_t>(out.columns, 1) : spec.group_size;
  out.super_size = spec.super_size;
  out.super_phase = spec.super_phase;
  out.groups = spec.groups(out.columns);
  out.supers = spec.supers(out.columns);
  out.code_bytes = spec.code_bytes(out.columns);
  out.sub_bytes = spec.sub_bytes(out.columns);
  out.scale = bytes_at(scale);
  out.sub_scale = bytes_at(sub_scale);
  out.minimum = bytes_at(minimum);
  out.sub_minimum = bytes_at(sub_minimum);
  out.codebook = bytes_at(codebook);
  return out;
}

PackedNeed float_need(const WeightUse& use, float offset) {
  return {float_key(use, offset), byte_count(DataType::kFloat32, use.shape, use.name)};
}

const float* upload_floats(const WeightUse& use, const QuantizedTensor& weight, LoadContext& load,
                           float offset) {
  const Tensor plain = dequantize(weight);
  std::vector<float> values(static_cast<std::size_t>(plain.view().elements()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = plain.view().as<float>()[i] + offset;
  return reinterpret_cast<const float*>(
      load.get(float_key(use, offset), std::as_bytes(std::span(values))));
}

PackedNeed constant_need(std::span<const float> values) {
  return {constant_key(values), static_cast<std::int64_t>(values.size_bytes())};
}

const float* upload_constant(std::span<const float> values, LoadContext& load) {
  return reinterpret_cast<const float*>(load.get(constant_key(values), std::as_bytes(values)));
}

}  // namespace tenon::cuda
