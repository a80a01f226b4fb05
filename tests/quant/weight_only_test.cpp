// Round-to-nearest quantizers: the error stays within half a step.
// SPDX-License-Identifier: Apache-2.0
#include "quant/formats/weight_only.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "tenon/error.h"

namespace tenon {
namespace {

Tensor random_weight(std::int64_t rows, std::int64_t columns) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0.02F, 0.1F);
  Tensor tensor(DataType::kFloat32, {rows, columns});
  for (std::int64_t i = 0; i < rows * columns; ++i) tensor.mutable_as<float>()[i] = normal(random);
  return tensor;
}

TEST(WeightOnly, ErrorIsHalfAStep) {
  const Tensor weight = random_weight(5, 256);
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    for (const std::int64_t group : {0, 32, 64, 128}) {
      for (const bool minimum : {false, true}) {
        const WeightOnly options{bits, group, minimum, DataType::kFloat32};
        const QuantizedTensor got = quantize_weight_only(weight.view(), options, "w");
        validate(got, "w");
        const Tensor back = dequantize(got);
        const std::int64_t width = group == 0 ? 256 : group;
        for (std::int64_t i = 0; i < 5 * 256; ++i) {
          const float step = std::fabs(got.scale.view().as<float>()[i / width]);
          const float exact = weight.view().as<float>()[i];
          // A symmetric code misses the value opposite to the extreme one by up to a step.
          const float bound = minimum || bits == 8 ? 0.501F * step : 1.001F * step;
          ASSERT_NEAR(back.view().as<float>()[i], exact, bound) << to_string(got.spec);
        }
      }
    }
  }
}

TEST(WeightOnly, OtherTypesAndZeros) {
  Tensor zeros(DataType::kBFloat16, {3, 64});
  const QuantizedTensor got = quantize_weight_only(zeros.view(), {4, 32, true}, "w");
  const Tensor back = dequantize(got);
  for (int i = 0; i < 3 * 64; ++i) EXPECT_EQ(back.view().as<float>()[i], 0.0F);
  EXPECT_EQ(got.bytes(), static_cast<std::size_t>(got.spec.bytes(3, 64)));
}

TEST(WeightOnly, Refusals) {
  Tensor weight = random_weight(2, 48);
  EXPECT_THROW(quantize_weight_only(weight.view(), {4, 32}, "w"), Error);
  EXPECT_THROW(quantize_weight_only(weight.view(), {7, 16}, "w"), Error);
  weight.mutable_as<float>()[5] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(quantize_weight_only(weight.view(), {8, 0}, "w"), Error);
  weight.mutable_as<float>()[5] = 1e30F;
  EXPECT_THROW(quantize_weight_only(weight.view(), {8, 0}, "w"), Error);
  EXPECT_NO_THROW(quantize_weight_only(weight.view(), {8, 0, true, DataType::kFloat32}, "w"));
}

}  // namespace
}  // namespace tenon
