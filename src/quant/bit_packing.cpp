// Eight codes travel through one 64-bit word; the ends of a row go code by code.
// SPDX-License-Identifier: Apache-2.0
#include "quant/bit_packing.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/check.h"

namespace tenon {
namespace {

static_assert(std::endian::native == std::endian::little, "words are stored as they lie in memory");

template <int kBits>
std::uint8_t code_at(const std::byte* packed, std::int64_t index) {
  const std::int64_t bit = index * kBits;
  const auto* byte = reinterpret_cast<const unsigned char*>(packed) + bit / 8;
  const int shift = static_cast<int>(bit % 8);
  unsigned value = *byte;
  if (shift + kBits > 8) value |= static_cast<unsigned>(byte[1]) << 8;
  return static_cast<std::uint8_t>((value >> shift) & ((1U << kBits) - 1));
}

template <int kBits>
void unpack(const std::byte* packed, std::int64_t first, std::int64_t count, std::uint8_t* codes) {
  std::int64_t i = 0;
  for (; i < count && (first + i) % 8 != 0; ++i) codes[i] = code_at<kBits>(packed, first + i);
  for (; i + 8 <= count; i += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, packed + (first + i) / 8 * kBits, kBits);
    for (int j = 0; j < 8; ++j)
      codes[i + j] = static_cast<std::uint8_t>((word >> (j * kBits)) & ((1U << kBits) - 1));
  }
  for (; i < count; ++i) codes[i] = code_at<kBits>(packed, first + i);
}

template <int kBits>
void pack(const std::uint8_t* codes, std::int64_t count, std::byte* packed) {
  for (std::int64_t i = 0; i < count; i += 8) {
    const int run = static_cast<int>(std::min<std::int64_t>(8, count - i));
    std::uint64_t word = 0;
    for (int j = 0; j < run; ++j) word |= static_cast<std::uint64_t>(codes[i + j]) << (j * kBits);
    std::memcpy(packed + i / 8 * kBits, &word, static_cast<std::size_t>(packed_bytes(kBits, run)));
  }
}

}  // namespace

void unpack_bits(int bits, const std::byte* packed, std::int64_t first, std::int64_t count,
                 std::uint8_t* codes) {
  switch (bits) {
    case 1: return unpack<1>(packed, first, count, codes);
    case 2: return unpack<2>(packed, first, count, codes);
    case 3: return unpack<3>(packed, first, count, codes);
    case 4: return unpack<4>(packed, first, count, codes);
    case 5: return unpack<5>(packed, first, count, codes);
    case 6: return unpack<6>(packed, first, count, codes);
    case 8:
      if (count > 0) std::memcpy(codes, packed + first, static_cast<std::size_t>(count));
      return;
    default: TENON_ASSERT(bits >= 1 && bits <= 8 && bits != 7);
  }
}

void pack_bits(int bits, const std::uint8_t* codes, std::int64_t count, std::byte* packed) {
  switch (bits) {
    case 1: return pack<1>(codes, count, packed);
    case 2: return pack<2>(codes, count, packed);
    case 3: return pack<3>(codes, count, packed);
    case 4: return pack<4>(codes, count, packed);
    case 5: return pack<5>(codes, count, packed);
    case 6: return pack<6>(codes, count, packed);
    case 8:
      if (count > 0) std::memcpy(packed, codes, static_cast<std::size_t>(count));
      return;
    default: TENON_ASSERT(bits >= 1 && bits <= 8 && bits != 7);
  }
}

}  // namespace tenon
