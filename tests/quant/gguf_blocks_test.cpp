// GGUF blocks: hand-made blocks and refusals. (tests/checkpoint compares with the gguf package.)
// SPDX-License-Identifier: Apache-2.0
#include "quant/formats/gguf_blocks.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <vector>

#include "tenon/error.h"

namespace tenon {
namespace {

QuantizedTensor from(GgufTensorType type, Shape shape, const std::vector<std::byte>& bytes) {
  return from_gguf_blocks(type, std::move(shape), bytes, nullptr, "t");
}

TEST(GgufBlocks, Q4_0ByHand) {
  std::vector<std::byte> block(18);
  block[1] = std::byte{0xC0};  // scale -2
  for (int i = 0; i < 16; ++i) block[2 + i] = static_cast<std::byte>(i | (15 - i) << 4);
  const Tensor values = dequantize(from(GgufTensorType::kQ4_0, {1, 32}, block));
  for (int i = 0; i < 16; ++i) {
    EXPECT_EQ(values.view().as<float>()[i], -2.0F * static_cast<float>(i - 8));
    EXPECT_EQ(values.view().as<float>()[16 + i], -2.0F * static_cast<float>(7 - i));
  }
}

TEST(GgufBlocks, Q6_KByHand) {
  std::vector<std::byte> block(210);
  block[0] = std::byte{0x21};    // elements 0 (low nibble 1) and 64 (low nibble 2)
  block[128] = std::byte{0xE4};  // high bits: 0 of element 0, 1 of 32, 2 of 64, 3 of 96
  for (int i = 0; i < 16; ++i) block[192 + i] = static_cast<std::byte>(-i);
  block[209] = std::byte{0x3C};  // scale 1
  const Tensor values = dequantize(from(GgufTensorType::kQ6_K, {256}, block));
  const float* got = values.view().as<float>();
  EXPECT_EQ(got[0], 0.0F);
  EXPECT_EQ(got[32], -2.0F * (16 - 32));
  EXPECT_EQ(got[64], -4.0F * (2 + 32 - 32));
  EXPECT_EQ(got[96], -6.0F * (48 - 32));
  EXPECT_EQ(got[255], -15.0F * -32);
}

TEST(GgufBlocks, PlainTypesAreViews) {
  alignas(4) static const std::array<float, 4> values = {1, 2, 3, 4};
  const auto bytes = std::as_bytes(std::span(values));
  const QuantizedTensor view = from_gguf_blocks(GgufTensorType::kF32, {2, 2}, bytes, nullptr, "t");
  EXPECT_EQ(static_cast<const void*>(view.codes.data()), values.data());
  std::vector<std::byte> shifted(17);
  std::memcpy(shifted.data() + 1, bytes.data(), 16);
  const QuantizedTensor copy =
      from_gguf_blocks(GgufTensorType::kF32, {2, 2}, std::span(shifted).subspan(1), nullptr, "t");
  EXPECT_EQ(copy.codes.view().as<float>()[3], 4.0F);
}

TEST(GgufBlocks, Refusals) {
  EXPECT_THROW(gguf_byte_count(GgufTensorType::kQ4_K, {2, 128}, "t"), Error);
  EXPECT_THROW(gguf_byte_count(GgufTensorType::kF64, {std::int64_t{1} << 62}, "t"), Error);
  EXPECT_THROW(from(GgufTensorType::kQ4_0, {1, 32}, std::vector<std::byte>(17)), Error);
  EXPECT_EQ(find_gguf_type(4), nullptr);
  EXPECT_EQ(find_gguf_type(1000), nullptr);
  EXPECT_FALSE(find_gguf_type(16)->supported);
}

}  // namespace
}  // namespace tenon
