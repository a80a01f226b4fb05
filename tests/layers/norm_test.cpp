// SPDX-License-Identifier: Apache-2.0
#include "layer_test_support.h"

namespace tenon {
namespace {

using namespace test;

/// Mean and variance of x's features [begin, end) in one row.
std::pair<double, double> moments(const Matrix& x, std::int64_t row, std::int64_t begin,
                                  std::int64_t end) {
  double mean = 0.0;
  for (std::int64_t c = begin; c < end; ++c) mean += x.at(row, c);
  mean /= static_cast<double>(end - begin);
  double variance = 0.0;
  for (std::int64_t c = begin; c < end; ++c) variance += std::pow(x.at(row, c) - mean, 2);
  return {mean, variance / static_cast<double>(end - begin)};
}

Matrix normalised(const Matrix& x, std::int64_t groups, double eps, const Matrix& gain,
                  const Matrix& bias) {
  Matrix y(x.rows, x.columns);
  const std::int64_t run = x.columns / groups;
  for (std::int64_t r = 0; r < x.rows; ++r)
    for (std::int64_t c = 0; c < x.columns; ++c) {
      const std::int64_t begin = c / run * run;
      const auto [mean, variance] = moments(x, r, begin, begin + run);
      y.at(r, c) = (x.at(r, c) - mean) / std::sqrt(variance + eps) * gain.at(0, c) +
                   (bias.values.empty() ? 0.0 : bias.at(0, c));
    }
  return y;
}

TEST(NormLayers, RmsNorm) {
  layers::RmsNorm layer({.normalized_shape = 24, .eps = 0.01});
  const Matrix gain = give(layer, "weight", 1);
  const Matrix x = random_matrix(4, 24, 2);
  Matrix expected(4, 24);
  for (std::int64_t r = 0; r < 4; ++r) {
    double squares = 0.0;
    for (std::int64_t c = 0; c < 24; ++c) squares += x.at(r, c) * x.at(r, c);
    for (std::int64_t c = 0; c < 24; ++c)
      expected.at(r, c) = x.at(r, c) / std::sqrt(squares / 24.0 + 0.01) * gain.at(0, c);
  }
  expect_near(layer.forward(x.array()), expected, 1e-5);
}

TEST(NormLayers, LayerNorm) {
  for (const bool with_bias : {true, false}) {
    layers::LayerNorm layer({.normalized_shape = 24, .eps = 0.01, .bias = with_bias});
    const Matrix gain = give(layer, "weight", 1);
    const Matrix bias = with_bias ? give(layer, "bias", 3) : Matrix{};
    const Matrix x = random_matrix(4, 24, 2);
    expect_near(layer.forward(x.array()), normalised(x, 1, 0.01, gain, bias), 1e-5);
  }
}

TEST(NormLayers, GroupNorm) {
  layers::GroupNorm layer({.num_groups = 3, .num_channels = 24, .eps = 0.01});
  const Matrix gain = give(layer, "weight", 1);
  const Matrix bias = give(layer, "bias", 3);
  const Matrix x = random_matrix(4, 24, 2);
  expect_near(layer.forward(x.array()), normalised(x, 3, 0.01, gain, bias), 1e-5);
  EXPECT_THAT(error_of([] { layers::GroupNorm({.num_groups = 5, .num_channels = 24}); }),
              testing::HasSubstr("divisor of num_channels, 24"));
}

}  // namespace
}  // namespace tenon
