// Eight codes travel through one 64-bit word, closed up (or spread out) in three steps that halve
// (or double) the number of lanes; the ends of a row go code by code.
// SPDX-License-Identifier: Apache-2.0
#include "quant/bit_packing.h"

#include <bit>
#include <cstring>

#include "core/check.h"

namespace tenon {
namespace {

static_assert(std::endian::native == std::endian::little, "words are stored as they lie in memory");

constexpr std::uint64_t kEvenBytes = 0x00FF00FF00FF00FF;
constexpr std::uint64_t kEvenPairs = 0x0000FFFF0000FFFF;
constexpr std::uint64_t kEvenQuads = 0x00000000FFFFFFFF;

/// Eight codes, one a byte, to 8 * kBits bits.
template <int kBits>
std::uint64_t close_up(std::uint64_t word) {
  word = (word & kEvenBytes) | ((word >> 8) & kEvenBytes) << kBits;
  word = (word & kEvenPairs) | ((word >> 16) & kEvenPairs) << (2 * kBits);
  return (word & kEvenQuads) | (word >> 32) << (4 * kBits);
}

template <int kBits>
std::uint64_t spread_out(std::uint64_t word) {
  constexpr std::uint64_t kOne = (1ULL << kBits) - 1;
  constexpr std::uint64_t kTwo = ((1ULL << (2 * kBits)) - 1) * 0x0000000100000001ULL;
  word = (word & ((1ULL << (4 * kBits)) - 1)) | word >> (4 * kBits) << 32;
  word = (word & kTwo) | ((word >> (2 * kBits)) & kTwo) << 16;
  constexpr std::uint64_t kOnes = kOne * 0x0001000100010001ULL;
  return (word & kOnes) | ((word >> kBits) & kOnes) << 8;
}

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
    word = spread_out<kBits>(word);
    std::memcpy(codes + i, &word, 8);
  }
  for (; i < count; ++i) codes[i] = code_at<kBits>(packed, first + i);
}

template <int kBits>
void pack(const std::uint8_t* codes, std::int64_t count, std::byte* packed) {
  std::int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, codes + i, 8);
    word = close_up<kBits>(word);
    std::memcpy(packed + i / 8 * kBits, &word, kBits);
  }
  if (i < count) {
    const int run = static_cast<int>(count - i);
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
