// Heads, masks, cross-attention and tensor parallelism of the attention layer.
// SPDX-License-Identifier: Apache-2.0
#include "attention_test_support.h"

namespace tenon {
namespace {

using namespace test;
using layers::AttentionMaskType;
using testing::HasSubstr;

const std::vector<std::int32_t> kLengths = {7, 1, 5};

layers::AttentionOptions options_of(std::int64_t kv_heads, AttentionMaskType mask) {
  return {.hidden_size = 24,
          .num_attention_heads = 6,
          .num_kv_heads = kv_heads,
          .attention_head_size = 6,  // not hidden / heads
          .attention_mask_type = mask};
}

bool causal(std::int64_t i, std::int64_t j) { return j <= i; }

void expect_attention(const layers::AttentionOptions& options, const AttentionFormula& formula) {
  layers::Attention layer(options);
  const AttentionWeights weights = give_all(layer, options.bias);
  const Matrix x = random_matrix(13, options.hidden_size, 21);
  expect_near(layer.forward(x.array(), {.sequence_lengths = kLengths}),
              attention_of(options, weights, formula, x, kLengths), 5e-5);
}

TEST(AttentionLayers, HeadsShareKeysAndValues) {
  for (const std::int64_t kv_heads : {6, 3, 2, 1})
    expect_attention(options_of(kv_heads, AttentionMaskType::kCausal), {.sees = causal});
}

TEST(AttentionLayers, WithoutBias) {
  layers::AttentionOptions options = options_of(2, AttentionMaskType::kCausal);
  options.bias = false;
  expect_attention(options, {.sees = causal});
}

TEST(AttentionLayers, Masks) {
  expect_attention(options_of(2, AttentionMaskType::kBidirectional), {});
  expect_attention(options_of(2, AttentionMaskType::kPadding), {});
  layers::AttentionOptions window = options_of(2, AttentionMaskType::kSlidingWindowCausal);
  window.sliding_window = 3;
  expect_attention(window,
                   {.sees = [](std::int64_t i, std::int64_t j) { return j <= i && i - j < 3; }});
}

TEST(AttentionLayers, ScoresScaledAndCapped) {
  layers::AttentionOptions options = options_of(2, AttentionMaskType::kCausal);
  options.q_scaling = 0.5;
  options.max_attn_value = 2.0;
  expect_attention(options, {.sees = causal, .q_scaling = 0.5, .softcap = 2.0});
}

TEST(AttentionLayers, CutOverRanks) {
  for (const auto& [kv_heads, tp] : {std::pair{6, 2}, {6, 4}, {3, 3}, {2, 2}, {1, 3}, {3, 6}}) {
    SCOPED_TRACE(std::to_string(kv_heads) + " kv heads, tp " + std::to_string(tp));
    layers::AttentionOptions options = options_of(kv_heads, AttentionMaskType::kCausal);
    options.tp_size = tp;
    expect_attention(options, {.sees = causal});
  }
}

TEST(AttentionLayers, CrossAttention) {
  for (const auto& encoder_lengths :
       {std::vector<std::int32_t>{2, 3, 1}, std::vector<std::int32_t>{9, 0, 11}}) {
    layers::AttentionOptions options = options_of(3, AttentionMaskType::kPadding);
    options.cross_attention = true;
    options.encoder_hidden_size = 10;
    layers::Attention layer(options);
    const AttentionWeights weights = give_all(layer, true);
    const Matrix x = random_matrix(13, 24, 21);
    const Matrix encoder =
        random_matrix(encoder_lengths[0] + encoder_lengths[1] + encoder_lengths[2], 10, 22);
    expect_near(layer.forward(x.array(), {.sequence_lengths = kLengths,
                                          .encoder = encoder.array(),
                                          .encoder_lengths = encoder_lengths}),
                attention_of(options, weights, {}, x, kLengths, &encoder, encoder_lengths), 5e-5);
  }
}

TEST(AttentionLayers, FusedProjectionIsThreeParts) {
  layers::AttentionOptions options = options_of(2, AttentionMaskType::kCausal);
  options.bias = false;
  layers::Attention apart(options);
  const AttentionWeights weights = give_all(apart, false);
  layers::Attention fused(options);
  std::vector<float> rows;
  for (const Matrix* part : {&weights.q, &weights.k, &weights.v}) {
    const std::vector<float> values = part->floats();
    rows.insert(rows.end(), values.begin(), values.end());
  }
  fused.set_weight("qkv.weight", {36 + 12 + 12, 24}, rows);
  fused.set_weight("dense.weight", {24, 36}, weights.dense.floats());
  const Matrix x = random_matrix(4, 24, 21);
  EXPECT_EQ(fused.forward(x.array()).data, apart.forward(x.array()).data);
  EXPECT_THAT(error_of([&] { fused.set_weight("qkv.weight", {59, 24}, rows); }),
              HasSubstr("expected 60 rows"));
}

TEST(AttentionLayers, SayWhatIsWrong) {
  EXPECT_THAT(error_of([] { layers::Attention({.hidden_size = 10, .num_attention_heads = 4}); }),
              HasSubstr("attention_head_size"));
  EXPECT_THAT(error_of([] { layers::Attention(options_of(4, AttentionMaskType::kCausal)); }),
              HasSubstr("num_kv_heads is 4"));
  EXPECT_THAT(
      error_of([] { layers::Attention(options_of(2, AttentionMaskType::kSlidingWindowCausal)); }),
      HasSubstr("sliding_window"));
  layers::AttentionOptions yarn = options_of(2, AttentionMaskType::kCausal);
  yarn.position_embedding_type = PositionEmbeddingType::kYarn;
  EXPECT_THAT(error_of([&] { layers::Attention{yarn}; }), HasSubstr("\"yarn\""));
  layers::AttentionOptions unused = options_of(2, AttentionMaskType::kCausal);
  unused.sliding_window = 4;
  EXPECT_THAT(error_of([&] { layers::Attention{unused}; }),
              HasSubstr("sliding_window is 4, but attention_mask_type"));
  layers::Attention layer(options_of(2, AttentionMaskType::kCausal));
  give_all(layer, true);
  const Matrix x = random_matrix(2, 24, 3);
  EXPECT_THAT(error_of([&] { layer.forward(x.array(), {.positions = {5, -1}}); }),
              HasSubstr("positions has -1"));
  EXPECT_THAT(error_of([&] { layer.forward(x.array(), {.positions = {5}}); }),
              HasSubstr("there are 1 positions, expected one for each of the 2 rows"));
}

}  // namespace
}  // namespace tenon
