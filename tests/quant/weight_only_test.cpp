// Round-to-nearest quantizers: the error stays within half a step, or is as small in the squares'
// sum as a search finds.
// SPDX-License-Identifier: Apache-2.0
#include "quant/formats/weight_only.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <span>
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
          const float restored = back.view().as<float>()[i];
          if (minimum || bits == 8) {
            ASSERT_NEAR(restored, exact, 0.501F * step) << to_string(got.spec);
            continue;
          }
          // What lies beyond the codes gets the outermost, everything else the nearest.
          const float half = static_cast<float>(1 << (bits - 1));
          const float code = exact / got.scale.view().as<float>()[i / width];
          if (code >= -half && code <= half - 1) {
            ASSERT_NEAR(restored, exact, 0.501F * step) << to_string(got.spec);
          } else {
            ASSERT_NEAR(restored / got.scale.view().as<float>()[i / width],
                        code < 0 ? -half : half - 1, 1e-3F);
          }
        }
      }
    }
  }
}

/// Against the scale that puts the value of largest magnitude on the lowest code, and against a
/// finer search than ours.
TEST(WeightOnly, TheScaleLeavesLittleSquaredError) {
  constexpr int kRows = 40;
  constexpr int kGroup = 64;
  const Tensor weight = random_weight(kRows, kGroup);
  for (const int bits : {2, 3, 4, 5, 6}) {
    const Tensor back =
        dequantize(quantize_weight_only(weight.view(), {bits, 0, false, DataType::kFloat32}, "w"));
    const float half = static_cast<float>(1 << (bits - 1));
    double ours = 0;
    double plain = 0;
    double best = 0;
    for (int r = 0; r < kRows; ++r) {
      const std::span<const float> x(weight.view().as<float>() + r * kGroup, kGroup);
      const auto error_of = [&](float scale) {
        double sum = 0;
        for (const float value : x)
          sum +=
              std::pow(value - scale * std::clamp(std::round(value / scale), -half, half - 1), 2);
        return sum;
      };
      const float extreme =
          *std::ranges::max_element(x, {}, [](float value) { return std::fabs(value); });
      plain += error_of(-extreme / half);
      double least = 1e30;
      for (int i = 200; i <= 1300; ++i)
        least = std::min(least, error_of(-extreme / half * static_cast<float>(i) / 1000));
      best += least;
      for (int c = 0; c < kGroup; ++c)
        ours +=
            std::pow(x[static_cast<std::size_t>(c)] - back.view().as<float>()[r * kGroup + c], 2);
    }
    EXPECT_LT(ours, plain) << bits;
    EXPECT_LT(ours, 1.06 * best) << bits;
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
