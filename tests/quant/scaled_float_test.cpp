// fp8 weights: each code is the nearest number, found here by trying all of them.
// SPDX-License-Identifier: Apache-2.0
#include "quant/formats/scaled_float.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "tenon/error.h"

namespace tenon {
namespace {

/// Every finite number of float8_e4m3 by its formula: sign, four bits of exponent with bias 7,
/// three of fraction; exponent 0 has no hidden bit; 0x7F and 0xFF are not numbers.
std::vector<double> all_numbers() {
  std::vector<double> numbers;
  for (int bits = 0; bits < 256; ++bits) {
    const int exponent = bits >> 3 & 15;
    const int fraction = bits & 7;
    if (exponent == 15 && fraction == 7) continue;
    const double magnitude =
        exponent == 0 ? std::ldexp(fraction, -9) : std::ldexp(8 + fraction, exponent - 10);
    numbers.push_back((bits & 128) != 0 ? -magnitude : magnitude);
  }
  return numbers;
}

QuantizedTensor quantized(const QuantizedTensor& weight, float largest) {
  QuantizedTensor out =
      QuantizedTensor::empty(QuantSpec::scaled_float(DataType::kFloat8E4M3), weight.shape, "w");
  quantize_scaled_float(weight, {0, weight.rows()}, largest, out);
  validate(out, "w");
  return out;
}

QuantizedTensor random_weight(std::int64_t rows, std::int64_t columns) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0.0F, 0.02F);
  Tensor tensor(DataType::kFloat32, {rows, columns});
  for (std::int64_t i = 0; i < rows * columns; ++i) tensor.mutable_as<float>()[i] = normal(random);
  return QuantizedTensor::from(std::move(tensor));
}

TEST(ScaledFloat, EveryCodeIsTheNearest) {
  const QuantizedTensor weight = random_weight(6, 200);
  const float largest = largest_magnitude(weight, {0, 6}, "w");
  const QuantizedTensor got = quantized(weight, largest);
  const Tensor back = dequantize(got);
  const std::vector<double> numbers = all_numbers();
  ASSERT_EQ(numbers.size(), 254U);
  const double scale = static_cast<double>(largest) / 448.0;
  double largest_back = 0.0;
  for (int i = 0; i < 6 * 200; ++i) {
    const double exact = weight.codes.view().as<float>()[i];
    double nearest = std::numeric_limits<double>::infinity();
    for (const double number : numbers)
      nearest = std::min(nearest, std::fabs(number * scale - exact));
    const double error = std::fabs(back.view().as<float>()[i] - exact);
    ASSERT_LE(error, nearest + 1e-6 * largest) << exact;
    // Half a step: an eighth of the number's power of two, or of the smallest one's.
    ASSERT_LE(error, std::max(std::fabs(exact) / 16.0, scale * std::ldexp(1.0, -10)) + 1e-9)
        << exact;
    largest_back =
        std::max(largest_back, std::fabs(static_cast<double>(back.view().as<float>()[i])));
  }
  EXPECT_NEAR(largest_back, largest, 1e-6);
}

TEST(ScaledFloat, ACutHasTheNumbersOfTheWhole) {
  const QuantizedTensor weight = random_weight(8, 64);
  const float largest = largest_magnitude(weight, {0, 8}, "w");
  const Tensor whole = dequantize(quantized(weight, largest));
  const Tensor part = dequantize(quantized(slice(weight, {2, 5}, {16, 64}), largest));
  for (int row = 0; row < 3; ++row)
    for (int column = 0; column < 48; ++column)
      EXPECT_EQ(part.view().as<float>()[row * 48 + column],
                whole.view().as<float>()[(row + 2) * 64 + column + 16]);
}

TEST(ScaledFloat, ZerosAndRefusals) {
  const QuantizedTensor zeros = QuantizedTensor::from(Tensor(DataType::kBFloat16, {2, 16}));
  EXPECT_EQ(largest_magnitude(zeros, {0, 2}, "w"), 0.0F);
  const Tensor back = dequantize(quantized(zeros, 0.0F));
  for (int i = 0; i < 32; ++i) EXPECT_EQ(back.view().as<float>()[i], 0.0F);
  QuantizedTensor weight = random_weight(2, 16);
  weight.codes.mutable_as<float>()[20] = std::numeric_limits<float>::infinity();
  EXPECT_NO_THROW(largest_magnitude(weight, {0, 1}, "w"));
  try {
    largest_magnitude(weight, {0, 2}, "layer.weight");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(std::string(error.what()).find("layer.weight"), std::string::npos);
  }
}

}  // namespace
}  // namespace tenon
