// Bit packing against a bit-by-bit formula.
// SPDX-License-Identifier: Apache-2.0
#include "quant/bit_packing.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace tenon {
namespace {

TEST(BitPacking, EveryWidthLengthAndStart) {
  std::mt19937 random(1);
  for (const int bits : {1, 2, 3, 4, 5, 6, 8}) {
    for (const int count : {0, 1, 2, 7, 8, 9, 31, 64, 100}) {
      std::vector<std::uint8_t> codes(static_cast<std::size_t>(count));
      for (auto& code : codes) code = static_cast<std::uint8_t>(random() & ((1U << bits) - 1));
      std::vector<std::byte> packed(static_cast<std::size_t>(packed_bytes(bits, count)));
      ASSERT_EQ(packed.size(), static_cast<std::size_t>((count * bits + 7) / 8));
      pack_bits(bits, codes.data(), count, packed.data());
      for (int bit = 0; bit < count * bits; ++bit) {
        const int got =
            (static_cast<int>(packed[static_cast<std::size_t>(bit / 8)]) >> (bit % 8)) & 1;
        ASSERT_EQ(got, (codes[static_cast<std::size_t>(bit / bits)] >> (bit % bits)) & 1);
      }
      for (int first = 0; first <= count; ++first) {
        std::vector<std::uint8_t> got(static_cast<std::size_t>(count - first));
        unpack_bits(bits, packed.data(), first, count - first, got.data());
        ASSERT_TRUE(std::equal(got.begin(), got.end(), codes.begin() + first))
            << bits << " bits, " << count << " codes from " << first;
      }
    }
  }
}

}  // namespace
}  // namespace tenon
