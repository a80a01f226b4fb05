// Logits processors and warpers against transformers' own, over rows, histories and parameters
// that tools/make_sampling_fixtures.py chose; and what transformers does not say.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/sampler_processors.h"

#include <cmath>

#include "backends/cpu/sampler_draw.h"
#include "sampler_cases.h"

namespace tenon::cpu {
namespace {

void expect_row(const std::vector<float>& got, const std::vector<float>& expected) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (expected[i] == kNever)
      EXPECT_EQ(got[i], kNever) << "token " << i;
    else
      EXPECT_NEAR(got[i], expected[i], 1e-5F * (1.F + std::fabs(expected[i]))) << "token " << i;
  }
}

TEST(CpuSamplerProcessors, RowsAreThoseOfTransformers) {
  const Json::Array& cases = sampling_fixtures().at("cases", "file").as_array("cases");
  ASSERT_GT(cases.size(), 50U);
  for (const Json& row : cases) {
    SCOPED_TRACE(row.at("name", "case").as_string("name"));
    std::vector<float> logits = logits_of(row);
    process(state_of(row), {}, logits);
    expect_row(logits, row_of(row.at("processed", "case")));
  }
}

std::vector<double> probabilities(const KeptTokens& kept, std::size_t vocabulary) {
  std::vector<double> out(vocabulary, 0.0);
  for (std::size_t i = 0; i < kept.row.size(); ++i)
    out[i] = static_cast<double>(kept.row[i]) / kept.total;
  for (const Candidate& c : kept.few)
    out[static_cast<std::size_t>(c.token)] = static_cast<double>(c.logit) / kept.total;
  return out;
}

TEST(CpuSamplerProcessors, KeptTokensAreThoseOfTransformers) {
  const Json::Array& cases = sampling_fixtures().at("cases", "file").as_array("cases");
  for (const char* isa : {"", "baseline"})
    for (const Json& row : cases) {
      SCOPED_TRACE(row.at("name", "case").as_string("name"));
      std::vector<float> logits = logits_of(row);
      const SamplingState state = state_of(row);
      process(state, {}, logits);
      const Sampler sampler(static_cast<std::int64_t>(logits.size()), isa);
      std::copy(logits.begin(), logits.end(), sampler.scratch().logits.begin());
      const auto got = probabilities(kept_tokens(state, sampler.scratch()), logits.size());
      std::vector<double> expected(logits.size(), 0.0);
      for (const Json& pair : row.at("kept", "case").as_array("kept"))
        expected[static_cast<std::size_t>(pair.as_array("kept")[0].as_int("token"))] =
            pair.as_array("kept")[1].as_double("p");
      for (std::size_t i = 0; i < got.size(); ++i) {
        EXPECT_EQ(got[i] > 0.0, expected[i] > 0.0) << "token " << i;
        EXPECT_NEAR(got[i], expected[i], 1e-5) << "token " << i;
      }
    }
}

TEST(CpuSamplerProcessors, BeamsRankWhatTransformersRanks) {
  const Json::Array& cases = sampling_fixtures().at("beams", "file").as_array("beams");
  ASSERT_EQ(cases.size(), 6U);
  for (const Json& row : cases) {
    SCOPED_TRACE(row.at("name", "case").as_string("name"));
    SamplingState state = state_of(row);
    state.params.beam_width = 4;
    const std::vector<float> logits = logits_of(row);
    std::vector<float> expected = row_of(row.at("processed", "case"));
    Sampler sampler(static_cast<std::int64_t>(logits.size()));
    const auto got = sampler.beam(logits, state);
    ASSERT_EQ(got.size(), 12U);  // 4 beams, 2 end ids
    for (const TokenLogprob& candidate : got) {
      const std::int32_t best = argmax(expected);
      EXPECT_EQ(candidate.token, best);
      float& entry = expected[static_cast<std::size_t>(best)];
      EXPECT_NEAR(candidate.logprob, entry, 1e-5F * (1.F + std::fabs(entry)));
      entry = kNever;
    }
  }
}

TEST(CpuSamplerProcessors, BeamsOfFewTokens) {
  const std::vector<float> logits = {1.F, NAN, 2.F, kNever};
  Sampler sampler(4);
  SamplingState state = with({.temperature = 0.F, .beam_width = 8});  // 0 counts as 1
  const auto both = sampler.beam(logits, state);
  ASSERT_EQ(both.size(), 2U);
  EXPECT_EQ(both[0].token, 2);
  EXPECT_NEAR(both[0].logprob, -std::log(1.0 + std::exp(-1.0)), 1e-6);
  EXPECT_NEAR(both[1].logprob, both[0].logprob - 1.F, 1e-6);
  const std::uint32_t only[] = {1U};
  ASSERT_EQ(sampler.beam(logits, state, only).size(), 1U);
  EXPECT_EQ(sampler.beam(logits, state, only)[0].token, 0);
  state.params.bad_words = {{0}, {2}};
  EXPECT_TRUE(sampler.beam(logits, state).empty());
  const std::vector<float> nothing(4, kNever);
  EXPECT_TRUE(sampler.beam(nothing, state).empty());
}

TEST(CpuSamplerProcessors, NothingLeftIsNoToken) {
  const std::vector<float> logits = {1.F, 2.F, 3.F};
  Sampler sample(3);
  for (const SamplingParams& params : {SamplingParams{.temperature = 0.F},
                                       {.seed = 1},
                                       {.top_k = 2},
                                       {.top_p = 0.5F},
                                       {.typical_p = 0.5F},
                                       {.top_k = 2, .typical_p = 0.5F}}) {
    SamplingState state = with(params);
    EXPECT_GE(sample(logits, state).token, 0);
    state.params.bad_words = {{0}, {1}, {2}};
    EXPECT_EQ(sample(logits, state).token, -1);
    state.params.bad_words = {{0}, {1}};
    EXPECT_EQ(sample(logits, state).token, 2);
  }
  const std::vector<float> infinite = {1.F, kInf, 3.F};  // has no distribution
  for (const SamplingParams& params : {SamplingParams{.seed = 1}, {.typical_p = 0.5F}})
    EXPECT_EQ(sample(infinite, with(params)).token, -1);
}

TEST(CpuSamplerProcessors, TokensBeyondTheRowAreIgnored) {
  const std::vector<float> logits = {3.F, 2.F};
  Sampler sample(2);
  SamplingState state = with({.temperature = 0.F,
                              .logit_bias = {{2, 9.F}, {1000000, 9.F}},
                              .no_repeat_ngram_size = 1,
                              .bad_words = {{77}, {5, 78}}});
  state.add_prompt(std::vector<std::int32_t>{99, 5});
  EXPECT_EQ(sample(logits, state).token, 0);
}

// The end would be drawn, but the run that it ends is banned, and it may not come yet anyway.
TEST(CpuSamplerProcessors, BannedAndHeldBack) {
  const std::vector<float> logits = {3.F, 2.F, 1.F};
  Sampler sample(3);
  SamplingState state = with({.temperature = 0.F, .bad_words = {{2, 1}}, .min_tokens = 1});
  state.end_ids = {0};
  EXPECT_EQ(sample(logits, state).token, 1);
  state.add_prompt(std::vector<std::int32_t>{2});
  EXPECT_EQ(sample(logits, state).token, 2);
  state.params.bad_words.push_back({2});
  EXPECT_EQ(sample(logits, state).token, 0);  // nothing else is left
}

TEST(CpuSamplerProcessors, TopPDecays) {
  // 0.5, 0.25, 0.125, …: top_p names how many stay.
  std::vector<float> logits(20);
  for (std::size_t i = 0; i < logits.size(); ++i)
    logits[i] = -static_cast<float>(i) * std::log(2.F);
  const Sampler sampler(20);
  const auto kept = [&](const SamplingState& state) {
    std::copy(logits.begin(), logits.end(), sampler.scratch().logits.begin());
    return kept_tokens(state, sampler.scratch()).few.size();
  };
  SamplingState state =
      with({.top_p = 0.9F, .top_p_decay = 0.8F, .top_p_min = 0.3F, .top_p_reset_id = 7});
  double top_p = 0.9;
  bool was_low = false;
  for (const std::int32_t token : {1, 2, 3, 4, 5, 6, 8, 9, 7, 1, 7, 7, 2, 3}) {
    EXPECT_NEAR(current_top_p(state), top_p, 1e-6);
    EXPECT_EQ(kept(state), static_cast<std::size_t>(std::ceil(-std::log2(1.0 - top_p)))) << top_p;
    state.record(token);
    top_p = token == 7 ? 0.9 : std::max(0.3, top_p * 0.8);
    was_low = was_low || top_p == 0.3;
  }
  EXPECT_TRUE(was_low);
  state = with({.top_p = 0.F, .top_p_decay = 0.5F});  // of all
  EXPECT_EQ(current_top_p(state), 1.0);
  state.record(1);
  EXPECT_EQ(current_top_p(state), 0.5);
  state = with({.top_p = 0.4F, .top_p_min = 0.9F});  // no decay: no floor
  EXPECT_NEAR(current_top_p(state), 0.4, 1e-6);
}

}  // namespace
}  // namespace tenon::cpu
