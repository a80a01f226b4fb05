// Each GGUF type has a small decoder from one block to plain codes and scales; one loop packs them.
// Blocks run along rows and fill whole bytes of every canonical tensor, so block b of the file is
// run b of each of them.
// SPDX-License-Identifier: Apache-2.0
#include "quant/formats/gguf_blocks.h"

#include <array>
#include <cstring>

#include "core/check.h"
#include "quant/bit_packing.h"

namespace tenon {
namespace {

using Byte = std::uint8_t;

/// One block taken apart. Scales keep their fp16 bits; codes and sub-scales are one a byte.
struct Block {
  std::array<Byte, 256> codes;
  std::array<Byte, 2> scale;
  std::array<Byte, 2> minimum;
  std::array<Byte, 16> sub_scale;
  std::array<Byte, 16> sub_minimum;
};

constexpr std::array<std::int8_t, 16> kIq4NlCodebook = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                        1,    13,   25,  38,  53,  69,  89,  113};

void take(std::array<Byte, 2>& to, const Byte* from) { to = {from[0], from[1]}; }

/// 16 bytes of nibbles: the low halves are elements 0 … 15, the high halves 16 … 31.
void split_nibbles(const Byte* from, Byte* codes) {
  for (int i = 0; i < 16; ++i) {
    codes[i] = from[i] & 15;
    codes[i + 16] = from[i] >> 4;
  }
}

/// For each byte, its eight bits as eight bytes of 0 or 1.
constexpr std::array<std::uint64_t, 256> kBitsAsBytes = [] {
  std::array<std::uint64_t, 256> table{};
  for (std::uint64_t byte = 0; byte < 256; ++byte)
    for (int bit = 0; bit < 8; ++bit) table[byte] |= ((byte >> bit) & 1) << (8 * bit);
  return table;
}();

/// Adds bit 4 of 32 codes from a little-endian word.
void add_fifth_bits(const Byte* from, Byte* codes) {
  for (int i = 0; i < 4; ++i) {
    std::uint64_t word = 0;
    std::memcpy(&word, codes + 8 * i, 8);
    word |= kBitsAsBytes[from[i]] << 4;
    std::memcpy(codes + 8 * i, &word, 8);
  }
}

/// Adds bit `to` of 256 codes from 32 bytes: bit k of byte i belongs to element 32 * k + i.
void add_mask_bits(const Byte* from, int to, Byte* codes) {
  for (int run = 0; run < 8; ++run)
    for (int i = 0; i < 32; ++i)
      codes[run * 32 + i] |= static_cast<Byte>(((from[i] >> run) & 1) << to);
}

void decode_q4_0(const Byte* in, Block& out) {
  take(out.scale, in);
  split_nibbles(in + 2, out.codes.data());
}

void decode_q4_1(const Byte* in, Block& out) {
  take(out.scale, in);
  take(out.minimum, in + 2);
  split_nibbles(in + 4, out.codes.data());
}

void decode_q5_0(const Byte* in, Block& out) {
  take(out.scale, in);
  split_nibbles(in + 6, out.codes.data());
  add_fifth_bits(in + 2, out.codes.data());
}

void decode_q5_1(const Byte* in, Block& out) {
  take(out.scale, in);
  take(out.minimum, in + 2);
  split_nibbles(in + 8, out.codes.data());
  add_fifth_bits(in + 4, out.codes.data());
}

void decode_q8_0(const Byte* in, Block& out) {
  take(out.scale, in);
  std::memcpy(out.codes.data(), in + 2, 32);
}

/// Two halves of 128 elements; in each, 32 bytes hold four runs of 32 codes, two bits a run.
void split_crumbs(const Byte* from, Byte* codes) {
  for (int half = 0; half < 2; ++half)
    for (int run = 0; run < 4; ++run)
      for (int i = 0; i < 32; ++i)
        codes[half * 128 + run * 32 + i] = (from[half * 32 + i] >> (2 * run)) & 3;
}

void decode_q2_k(const Byte* in, Block& out) {
  for (int i = 0; i < 16; ++i) {
    out.sub_scale[i] = in[i] & 15;
    out.sub_minimum[i] = in[i] >> 4;
  }
  split_crumbs(in + 16, out.codes.data());
  take(out.scale, in + 80);
  take(out.minimum, in + 82);
}

/// 32 mask bytes (bit k belongs to run k of 32 elements), 64 bytes of low bits, 12 bytes of 6-bit
/// sub-scales stored with 32 added, the scale.
void decode_q3_k(const Byte* in, Block& out) {
  const Byte* scales = in + 96;
  split_crumbs(in + 32, out.codes.data());
  add_mask_bits(in, 2, out.codes.data());
  for (int i = 0; i < 16; ++i) {
    const int low = i < 8 ? scales[i] & 15 : scales[i - 8] >> 4;
    const int high = (scales[8 + i % 4] >> (2 * (i / 4))) & 3;
    out.sub_scale[i] = static_cast<Byte>((low | high << 4) - 32);
  }
  take(out.scale, in + 108);
}

/// 12 bytes: six bits of eight sub-scales and eight sub-minima. The first four of each lie in the
/// low six bits of bytes 0-3 and 4-7; the other four are split between bytes 8-11 and the top bits.
void split_six_bits(const Byte* in, Block& out) {
  for (int i = 0; i < 4; ++i) {
    out.sub_scale[i] = in[i] & 63;
    out.sub_minimum[i] = in[4 + i] & 63;
    out.sub_scale[4 + i] = static_cast<Byte>((in[8 + i] & 15) | ((in[i] >> 6) << 4));
    out.sub_minimum[4 + i] = static_cast<Byte>((in[8 + i] >> 4) | ((in[4 + i] >> 6) << 4));
  }
}

/// Four times 32 bytes of nibbles: 32 elements in the low halves, then 32 in the high ones.
void split_long_nibbles(const Byte* from, Byte* codes) {
  for (int chunk = 0; chunk < 4; ++chunk)
    for (int i = 0; i < 32; ++i) {
      codes[chunk * 64 + i] = from[chunk * 32 + i] & 15;
      codes[chunk * 64 + 32 + i] = from[chunk * 32 + i] >> 4;
    }
}

void decode_q4_k(const Byte* in, Block& out) {
  take(out.scale, in);
  take(out.minimum, in + 2);
  split_six_bits(in + 4, out);
  split_long_nibbles(in + 16, out.codes.data());
}

void decode_q5_k(const Byte* in, Block& out) {
  take(out.scale, in);
  take(out.minimum, in + 2);
  split_six_bits(in + 4, out);
  split_long_nibbles(in + 48, out.codes.data());
  add_mask_bits(in + 16, 4, out.codes.data());
}

/// 128 bytes of low nibbles (in each half of 128 elements, 64 bytes hold two runs of 64), 64 bytes
/// of high bits, 16 signed sub-scales, the scale.
void decode_q6_k(const Byte* in, Block& out) {
  split_crumbs(in + 128, out.codes.data());
  for (int half = 0; half < 2; ++half)
    for (int i = 0; i < 64; ++i) {
      const Byte low = in[half * 64 + i];
      Byte* codes = out.codes.data() + half * 128 + i;
      codes[0] = static_cast<Byte>(codes[0] << 4 | (low & 15));
      codes[64] = static_cast<Byte>(codes[64] << 4 | low >> 4);
    }
  std::memcpy(out.sub_scale.data(), in + 192, 16);
  take(out.scale, in + 208);
}

using Decoder = void (*)(const Byte*, Block&);

Decoder decoder_of(GgufTensorType type) {
  switch (type) {
    case GgufTensorType::kQ4_0:
    case GgufTensorType::kIQ4_NL: return decode_q4_0;
    case GgufTensorType::kQ4_1: return decode_q4_1;
    case GgufTensorType::kQ5_0: return decode_q5_0;
    case GgufTensorType::kQ5_1: return decode_q5_1;
    case GgufTensorType::kQ8_0: return decode_q8_0;
    case GgufTensorType::kQ2_K: return decode_q2_k;
    case GgufTensorType::kQ3_K: return decode_q3_k;
    case GgufTensorType::kQ4_K: return decode_q4_k;
    case GgufTensorType::kQ5_K: return decode_q5_k;
    case GgufTensorType::kQ6_K: return decode_q6_k;
    default: return nullptr;
  }
}

QuantSpec one_level(int bits, int offset, bool has_minimum) {
  return {.kind = QuantKind::kInteger,
          .bits = bits,
          .code_offset = offset,
          .group_size = 32,
          .has_minimum = has_minimum};
}

QuantSpec two_level(int bits, int offset, std::int64_t group, bool has_minimum, int sub_bits) {
  return {.kind = QuantKind::kInteger,
          .bits = bits,
          .code_offset = offset,
          .group_size = group,
          .has_minimum = has_minimum,
          .super_size = 256,
          .sub_bits = sub_bits,
          .sub_signed = !has_minimum};
}

Byte* bytes_of(Tensor& tensor) {
  return tensor.data() == nullptr ? nullptr : tensor.mutable_as<Byte>();
}

void repack(Decoder decode, std::int64_t blocks, std::int64_t block_bytes, std::int64_t columns,
            const Byte* in, QuantizedTensor& out) {
  const QuantSpec& spec = out.spec;
  const std::int64_t groups = spec.groups(columns);
  const std::int64_t sub_bytes = spec.sub_bytes(columns);
  Byte* codes = bytes_of(out.codes);
  Byte* scale = bytes_of(out.scale);
  Byte* minimum = bytes_of(out.minimum);
  Byte* sub_scale = bytes_of(out.sub_scale);
  Byte* sub_minimum = bytes_of(out.sub_minimum);
  const std::int64_t code_bytes = spec.code_bytes(columns);
  Block block;
  for (std::int64_t b = 0; b < blocks; ++b) {
    decode(in + b * block_bytes, block);
    pack_bits(spec.bits, block.codes.data(), columns,
              reinterpret_cast<std::byte*>(codes + b * code_bytes));
    std::memcpy(scale + b * 2, block.scale.data(), 2);
    if (minimum != nullptr) std::memcpy(minimum + b * 2, block.minimum.data(), 2);
    if (sub_scale != nullptr)
      pack_bits(spec.sub_bits, block.sub_scale.data(), groups,
                reinterpret_cast<std::byte*>(sub_scale + b * sub_bytes));
    if (sub_minimum != nullptr)
      pack_bits(spec.sub_bits, block.sub_minimum.data(), groups,
                reinterpret_cast<std::byte*>(sub_minimum + b * sub_bytes));
  }
}

}  // namespace

QuantSpec gguf_quant_spec(GgufTensorType type) {
  switch (type) {
    case GgufTensorType::kF32: return QuantSpec::floating(DataType::kFloat32);
    case GgufTensorType::kF16: return QuantSpec::floating(DataType::kFloat16);
    case GgufTensorType::kBF16: return QuantSpec::floating(DataType::kBFloat16);
    case GgufTensorType::kF64: return QuantSpec::floating(DataType::kFloat64);
    case GgufTensorType::kI8: return QuantSpec::floating(DataType::kInt8);
    case GgufTensorType::kI16: return QuantSpec::floating(DataType::kInt16);
    case GgufTensorType::kI32: return QuantSpec::floating(DataType::kInt32);
    case GgufTensorType::kI64: return QuantSpec::floating(DataType::kInt64);
    case GgufTensorType::kQ4_0: return one_level(4, 8, false);
    case GgufTensorType::kQ4_1: return one_level(4, 0, true);
    case GgufTensorType::kQ5_0: return one_level(5, 16, false);
    case GgufTensorType::kQ5_1: return one_level(5, 0, true);
    case GgufTensorType::kQ8_0: return one_level(8, 0, false);
    case GgufTensorType::kQ2_K: return two_level(2, 0, 16, true, 4);
    case GgufTensorType::kQ3_K: return two_level(3, 4, 16, false, 8);
    case GgufTensorType::kQ4_K: return two_level(4, 0, 32, true, 8);
    case GgufTensorType::kQ5_K: return two_level(5, 0, 32, true, 8);
    case GgufTensorType::kQ6_K: return two_level(6, 32, 16, false, 8);
    case GgufTensorType::kIQ4_NL:
      return {.kind = QuantKind::kCodebook, .bits = 4, .group_size = 32};
  }
  TENON_ASSERT(false);
  return {};
}

std::int64_t gguf_byte_count(GgufTensorType type, const Shape& shape, std::string_view name) {
  const GgufTypeInfo& info = gguf_type_info(type);
  const std::int64_t elements = element_count(shape, name);
  const std::int64_t columns = shape.empty() ? 1 : shape.back();
  TENON_CHECK(columns % info.block_columns == 0, ErrorCode::kCorrupt,
              "{}: its rows of {} elements are no multiple of {}'s blocks of {}", name, columns,
              info.name, info.block_columns);
  std::int64_t bytes = 0;
  TENON_CHECK(!__builtin_mul_overflow(elements / info.block_columns, info.block_bytes, &bytes),
              ErrorCode::kCorrupt, "{}: shape {} needs more than 2^63 bytes", name,
              to_string(shape));
  return bytes;
}

QuantizedTensor from_gguf_blocks(GgufTensorType type, Shape shape, std::span<const std::byte> bytes,
                                 std::shared_ptr<const void> owner, std::string_view name) {
  const GgufTypeInfo& info = gguf_type_info(type);
  const std::int64_t expected = gguf_byte_count(type, shape, name);
  TENON_CHECK(static_cast<std::uint64_t>(expected) == bytes.size(), ErrorCode::kCorrupt,
              "{}: {} of shape {} takes {} bytes, got {}", name, info.name, to_string(shape),
              expected, bytes.size());
  const QuantSpec spec = gguf_quant_spec(type);
  if (spec.is_float()) return plain_tensor(spec.float_type, std::move(shape), bytes, owner);
  QuantizedTensor tensor = QuantizedTensor::empty(spec, std::move(shape), name);
  if (spec.kind == QuantKind::kCodebook)
    std::memcpy(tensor.codebook.mutable_data(), kIq4NlCodebook.data(), kIq4NlCodebook.size());
  repack(decoder_of(type), expected / info.block_bytes, info.block_bytes, info.block_columns,
         reinterpret_cast<const Byte*>(bytes.data()), tensor);
  return tensor;
}

}  // namespace tenon
