// Every kind of position that enters attention, each by its own formula.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <numbers>

#include "attention_test_support.h"

namespace tenon {
namespace {

using namespace test;
using Position = PositionEmbeddingType;

const std::vector<std::int32_t> kLengths = {9, 4};
constexpr std::int64_t kHeadSize = 8;

layers::AttentionOptions options_of(Position position) {
  return {.hidden_size = 32,
          .num_attention_heads = 4,
          .num_kv_heads = 2,
          .max_position_embeddings = 64,
          .attention_mask_type = layers::AttentionMaskType::kCausal,
          .position_embedding_type = position};
}

bool causal(std::int64_t i, std::int64_t j) { return j <= i; }

/// Turns pairs (first(i), second(i)) by position * frequency(i).
AttentionFormula rotary(std::vector<double> frequencies, bool neighbours, double amplitude = 1.0) {
  AttentionFormula formula;
  formula.sees = causal;
  formula.rotate = [=](double* x, std::int64_t position) {
    const auto half = frequencies.size();
    for (std::size_t i = 0; i < half; ++i) {
      const std::size_t a = neighbours ? 2 * i : i;
      const std::size_t b = neighbours ? 2 * i + 1 : i + half;
      const double angle = static_cast<double>(position) * frequencies[i];
      const double first = x[a];
      const double second = x[b];
      x[a] = amplitude * (first * std::cos(angle) - second * std::sin(angle));
      x[b] = amplitude * (second * std::cos(angle) + first * std::sin(angle));
    }
  };
  return formula;
}

std::vector<double> frequencies(double base, std::int64_t rotated) {
  std::vector<double> result;
  for (std::int64_t i = 0; i < rotated / 2; ++i)
    result.push_back(std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(rotated)));
  return result;
}

void expect_attention(const layers::AttentionOptions& options, const AttentionFormula& formula) {
  layers::Attention layer(options);
  const AttentionWeights weights = give_all(layer, options.bias);
  const Matrix x = random_matrix(13, 32, 31);
  expect_near(layer.forward(x.array(), {.sequence_lengths = kLengths}),
              attention_of(options, weights, formula, x, kLengths), 2e-4);
}

TEST(AttentionPositions, NoneOrAddedToTheEmbeddings) {
  expect_attention(options_of(Position::kNone), {.sees = causal});
  expect_attention(options_of(Position::kLearnedAbsolute), {.sees = causal});
}

TEST(AttentionPositions, RopeGptNeox) {
  layers::AttentionOptions options = options_of(Position::kRopeGptNeox);
  options.rotary_embedding_base = 500.0;
  expect_attention(options, rotary(frequencies(500.0, kHeadSize), false));
  options.rotary_embedding_dim = 4;
  expect_attention(options, rotary(frequencies(500.0, 4), false));
}

TEST(AttentionPositions, RopeGptj) {
  layers::AttentionOptions options = options_of(Position::kRopeGptj);
  options.rotary_embedding_dim = 4;
  expect_attention(options, rotary(frequencies(10000.0, 4), true));
}

TEST(AttentionPositions, ChatglmTurnsHalfOfTheHead) {
  expect_attention(options_of(Position::kChatglm),
                   rotary(frequencies(10000.0, kHeadSize / 2), true));
}

TEST(AttentionPositions, LinearAndLlama3Scaling) {
  layers::AttentionOptions options = options_of(Position::kRopeGptNeox);
  options.rotary_embedding_scaling = {.type = "linear", .factor = 4.0};
  std::vector<double> linear = frequencies(10000.0, kHeadSize);
  for (double& value : linear) value /= 4.0;
  expect_attention(options, rotary(linear, false));

  options.rotary_embedding_base = 100.0;
  options.rotary_embedding_scaling = {.type = "llama3",
                                      .factor = 8.0,
                                      .low_freq_factor = 1.0,
                                      .high_freq_factor = 4.0,
                                      .original_max_position_embeddings = 40};
  std::vector<double> llama3;
  for (const double value : frequencies(100.0, kHeadSize)) {
    const double wave = 2.0 * std::numbers::pi / value;
    const double keep = std::clamp((40.0 / wave - 1.0) / 3.0, 0.0, 1.0);
    llama3.push_back((1.0 - keep) * value / 8.0 + keep * value);
  }
  expect_attention(options, rotary(llama3, false));
}

TEST(AttentionPositions, Yarn) {
  layers::AttentionOptions options = options_of(Position::kYarn);
  options.rotary_embedding_base = 100.0;
  options.rotary_embedding_scaling = {.type = "yarn",
                                      .factor = 4.0,
                                      .beta_fast = 4.0,
                                      .beta_slow = 1.0,
                                      .truncate = false,
                                      .original_max_position_embeddings = 32};
  // Feature that turns `turns` times within the original length.
  const auto feature = [](double turns) {
    return 4.0 * std::log(32.0 / (2.0 * std::numbers::pi * turns)) / std::log(100.0);
  };
  const double low = std::max(feature(4.0), 0.0);
  const double high = std::min(feature(1.0), 7.0);
  std::vector<double> yarn;
  for (std::size_t i = 0; i < 4; ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    const double value = frequencies(100.0, kHeadSize)[i];
    yarn.push_back(value / 4.0 * ramp + value * (1.0 - ramp));
  }
  expect_attention(options, rotary(yarn, false, 0.1 * std::log(4.0) + 1.0));
}

TEST(AttentionPositions, LongRopeSwitchesByLength) {
  for (const std::int64_t original : {16, 4}) {  // sequences of 9 and 4 tokens
    layers::AttentionOptions options = options_of(Position::kLongRope);
    options.rotary_embedding_scaling = {.type = "longrope",
                                        .factor = 2.0,
                                        .original_max_position_embeddings = original,
                                        .short_factor = {1.0, 1.1, 1.2, 1.3},
                                        .long_factor = {1.0, 2.0, 3.0, 4.0}};
    std::vector<double> used = frequencies(10000.0, kHeadSize);
    const double amplitude =
        std::sqrt(1.0 + std::log(2.0) / std::log(static_cast<double>(original)));
    const auto with = [&](std::vector<double> factors) {
      std::vector<double> result = used;
      for (std::size_t i = 0; i < result.size(); ++i) result[i] /= factors[i];
      return rotary(result, false, amplitude);
    };
    layers::Attention layer(options);
    const AttentionWeights weights = give_all(layer, true);
    const Matrix x = random_matrix(9, 32, 31);
    const AttentionFormula formula =
        original == 16 ? with({1.0, 1.1, 1.2, 1.3}) : with({1.0, 2.0, 3.0, 4.0});
    expect_near(layer.forward(x.array()), attention_of(options, weights, formula, x, {9}), 2e-4);
  }
}

TEST(AttentionPositions, DynamicGrowsTheBase) {
  layers::AttentionOptions options = options_of(Position::kRopeGptNeox);
  options.max_position_embeddings = 6;
  options.rotary_embedding_scaling = {.type = "dynamic", .factor = 4.0};
  layers::Attention layer(options);
  const AttentionWeights weights = give_all(layer, true);
  const Matrix x = random_matrix(9, 32, 31);
  const double base = 10000.0 * std::pow(4.0 * 9.0 / 6.0 - 3.0, 8.0 / 6.0);
  expect_near(layer.forward(x.array()),
              attention_of(options, weights, rotary(frequencies(base, kHeadSize), false), x, {9}),
              2e-4);
}

TEST(AttentionPositions, Alibi) {
  const auto formula = [](std::vector<double> slopes) {
    AttentionFormula result;
    result.sees = causal;
    result.bias = [slopes](std::int64_t head, std::int64_t i, std::int64_t j) {
      return slopes[static_cast<std::size_t>(head)] * static_cast<double>(j - i);
    };
    return result;
  };
  expect_attention(options_of(Position::kAlibi), formula({0.25, 0.0625, 0.015625, 0.00390625}));
  // Three heads: the two of the next smaller power of two, then every second of the next larger.
  layers::AttentionOptions three = options_of(Position::kAlibi);
  three.num_attention_heads = three.num_kv_heads = 3;
  three.attention_head_size = 8;
  expect_attention(three, formula({0.0625, 0.00390625, 0.25}));
  three.tp_size = 3;
  expect_attention(three, formula({0.0625, 0.00390625, 0.25}));
}

TEST(AttentionPositions, RelativeBuckets) {
  for (const int tp : {1, 2}) {
    layers::AttentionOptions options = options_of(Position::kRelative);
    options.attention_mask_type = layers::AttentionMaskType::kBidirectional;
    options.num_buckets = 8;
    options.max_distance = 8;
    options.tp_size = tp;
    layers::Attention layer(options);
    const AttentionWeights weights = give_all(layer, true);
    const Matrix table = give(layer, "rel_attn_table.weight", 41);  // [8, 4]
    AttentionFormula formula;
    formula.bias = [&](std::int64_t head, std::int64_t i, std::int64_t j) {
      // 4 buckets a side: distances 0 and 1 on their own, 2 … 3, 4 and more by their logarithm.
      const std::int64_t distance = std::abs(j - i);
      const std::int64_t near = distance < 2 ? distance : distance < 4 ? 2 : 3;
      return table.at((j > i ? 4 : 0) + near, head);
    };
    const Matrix x = random_matrix(13, 32, 31);
    expect_near(layer.forward(x.array(), {.sequence_lengths = kLengths}),
                attention_of(options, weights, formula, x, kLengths), 2e-4);
  }
}

TEST(AttentionPositions, PositionsMayBeGiven) {
  layers::AttentionOptions options = options_of(Position::kRopeGptNeox);
  layers::Attention layer(options);
  give_all(layer, true);
  const Matrix x = random_matrix(3, 32, 31);
  // Only differences of rotary positions matter.
  const layers::Array at_zero = layer.forward(x.array());
  const layers::Array later = layer.forward(x.array(), {.positions = {40, 41, 42}});
  const layers::Array apart = layer.forward(x.array(), {.positions = {0, 7, 9}});
  double same = 0.0;
  double different = 0.0;
  for (std::size_t i = 0; i < at_zero.data.size(); ++i) {
    same = std::max(same, std::abs(static_cast<double>(at_zero.data[i] - later.data[i])));
    different = std::max(different, std::abs(static_cast<double>(at_zero.data[i] - apart.data[i])));
  }
  EXPECT_LT(same, 2e-4);
  EXPECT_GT(different, 1e-2);
}

}  // namespace
}  // namespace tenon
