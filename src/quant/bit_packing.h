// Codes of 1 to 8 bits in a row of bytes: code c lies at bits [c * bits, (c + 1) * bits), least
// significant first, so that eight codes always fill `bits` whole bytes.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace tenon {

/// Bytes of `count` codes, the last byte padded with zero bits.
constexpr std::int64_t packed_bytes(int bits, std::int64_t count) {
  return count / 8 * bits + (count % 8 * bits + 7) / 8;
}

/// Packs `count` codes (upper bits beyond `bits` must be zero) into packed_bytes() bytes.
void pack_bits(int bits, const std::uint8_t* codes, std::int64_t count, std::byte* packed);

/// Codes [first, first + count) of a packed row. Reads no byte past the last code's.
void unpack_bits(int bits, const std::byte* packed, std::int64_t first, std::int64_t count,
                 std::uint8_t* codes);

}  // namespace tenon
