// Conversions of 16- and 8-bit floats: every code, and rounding at every border.
// SPDX-License-Identifier: Apache-2.0
#include "core/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace tenon {
namespace {

TEST(Half, Fp16RoundTripsEveryCode) {
  for (std::uint32_t code = 0; code < 65536; ++code) {
    const auto bits = static_cast<std::uint16_t>(code);
    const float value = fp16_to_float(bits);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(fp16_to_float(float_to_fp16(value))));
      continue;
    }
    ASSERT_EQ(float_to_fp16(value), bits) << value;
  }
}

TEST(Half, Fp16RoundsToNearestEven) {
  for (std::uint32_t code = 0; code < 0x7BFF; ++code) {
    const float low = fp16_to_float(static_cast<std::uint16_t>(code));
    const float high = fp16_to_float(static_cast<std::uint16_t>(code + 1));
    const float middle = low + (high - low) / 2;
    ASSERT_EQ(float_to_fp16(std::nextafter(middle, low)), code);
    ASSERT_EQ(float_to_fp16(std::nextafter(middle, high)), code + 1);
    ASSERT_EQ(float_to_fp16(middle), code % 2 == 0 ? code : code + 1);
  }
  EXPECT_EQ(float_to_fp16(65519.996F), 0x7BFF);
  EXPECT_EQ(float_to_fp16(65520.0F), 0x7C00);
  EXPECT_EQ(float_to_fp16(-std::numeric_limits<float>::infinity()), 0xFC00);
}

TEST(Half, Bf16RoundsToNearestEvenAndKeepsNan) {
  EXPECT_EQ(float_to_bf16(1.0F), 0x3F80);
  EXPECT_EQ(float_to_bf16(1.00390625F), 0x3F80);    // half way, to even
  EXPECT_EQ(float_to_bf16(1.01171875F), 0x3F82);    // half way, to even
  EXPECT_EQ(float_to_bf16(1.0039063692F), 0x3F81);  // above half way
  EXPECT_TRUE(std::isnan(bf16_to_float(float_to_bf16(std::nanf("")))));
  EXPECT_EQ(bf16_to_float(float_to_bf16(-INFINITY)), -INFINITY);
}

TEST(Half, Fp8RoundTripsEveryCodeAndSaturates) {
  for (std::uint32_t code = 0; code < 256; ++code) {
    const float value = fp8_e4m3_to_float(static_cast<std::uint8_t>(code));
    if (std::isnan(value)) continue;
    ASSERT_EQ(float_to_fp8_e4m3(value), code) << value;
  }
  EXPECT_EQ(fp8_e4m3_to_float(float_to_fp8_e4m3(1e9F)), 448.0F);
  EXPECT_EQ(fp8_e4m3_to_float(float_to_fp8_e4m3(-1e9F)), -448.0F);
  for (std::uint32_t code = 0; code < 0x7E; ++code) {
    const float low = fp8_e4m3_to_float(static_cast<std::uint8_t>(code));
    const float high = fp8_e4m3_to_float(static_cast<std::uint8_t>(code + 1));
    ASSERT_EQ(float_to_fp8_e4m3((low + high) / 2), code % 2 == 0 ? code : code + 1);
  }
  EXPECT_EQ(fp8_e5m2_to_float(0x7B), 57344.0F);
}

}  // namespace
}  // namespace tenon
