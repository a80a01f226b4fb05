// The sampler: distributions by chi-squared tests against probabilities computed here by sorting,
// penalties, masks, log-probabilities, and numbers that depend on seed, sample and position alone.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <numeric>

#include "backends/cpu/philox.h"
#include "cpu_sampler_support.h"

namespace tenon::cpu {
namespace {

// What the options leave, by sorting everything.
std::vector<double> expected_probabilities(const std::vector<float>& logits,
                                           const SamplingParams& params) {
  std::vector<std::size_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0U);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return logits[a] > logits[b]; });
  if (params.top_k > 0 && static_cast<std::size_t>(params.top_k) < order.size())
    order.resize(static_cast<std::size_t>(params.top_k));
  std::vector<double> p(logits.size(), 0.0);
  const auto normalise = [&] {
    double total = 0;
    for (const double x : p) total += x;
    for (double& x : p) x /= total;
  };
  for (const std::size_t i : order)
    p[i] = std::exp((static_cast<double>(logits[i]) - static_cast<double>(logits[order[0]])) /
                    static_cast<double>(params.temperature));
  normalise();
  double sum = 0;
  const double likeliest = p[order[0]];
  for (const std::size_t i : order) {
    const bool outside = params.top_p < 1.F && sum >= static_cast<double>(params.top_p);
    sum += p[i];
    if (outside || p[i] < static_cast<double>(params.min_p) * likeliest) p[i] = 0.0;
  }
  normalise();
  if (params.typical_p == 1.F) return p;
  double entropy = 0;
  for (const double x : p) entropy -= x > 0 ? x * std::log(x) : 0.0;
  const auto distance = [&](std::size_t i) { return std::fabs(-std::log(p[i]) - entropy); };
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return distance(a) < distance(b); });
  sum = 0;
  for (const std::size_t i : order) {
    const bool outside = sum >= static_cast<double>(params.typical_p);
    sum += p[i];
    if (outside) p[i] = 0.0;
  }
  normalise();
  return p;
}

void expect_distribution(const std::vector<float>& logits, SamplingParams params) {
  params.seed = 1234;
  constexpr int kDraws = 20000;
  const auto expected = expected_probabilities(logits, params);
  for (const char* isa : {"", "baseline"}) {
    Sampler sample(static_cast<std::int64_t>(logits.size()), isa);
    std::vector<int> counts(logits.size(), 0);
    for (int i = 0; i < kDraws; ++i) {
      const std::int32_t token = sample(logits, with(params), i).token;
      ASSERT_GE(token, 0);
      ++counts[static_cast<std::size_t>(token)];
    }
    double chi = 0.0;
    double freedom = -1.0;
    for (std::size_t i = 0; i < counts.size(); ++i) {
      if (expected[i] == 0.0) {
        EXPECT_EQ(counts[i], 0) << "token " << i << " must not appear";
        continue;
      }
      const double mean = expected[i] * kDraws;
      chi += (counts[i] - mean) * (counts[i] - mean) / mean;
      freedom += 1.0;
    }
    EXPECT_LT(chi, freedom + 5.0 * std::sqrt(2.0 * freedom) + 1e-9) << "freedom " << freedom;
  }
}

TEST(CpuPhilox, KnownAnswers) {  // of the paper's own test vectors
  const std::array<std::uint32_t, 4> zero = {0x6627E8D5U, 0xE169C58DU, 0xBC57AC4CU, 0x9B00DBD8U};
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), zero);
  const std::uint32_t f = 0xFFFFFFFFU;
  const std::array<std::uint32_t, 4> ones = {0x408F276DU, 0x41C83B0EU, 0xA20BC7C6U, 0x6D5451FDU};
  EXPECT_EQ(philox({f, f, f, f}, {f, f}), ones);
}

TEST(CpuSampler, Distributions) {
  const auto logits = random_logits(12, 3, 1.5F);
  expect_distribution(logits, {});
  expect_distribution(logits, {.temperature = 0.6F});
  expect_distribution(logits, {.temperature = 2.F});
  expect_distribution(logits, {.top_k = 4});
  expect_distribution(logits, {.top_k = 100});
  expect_distribution(logits, {.top_p = 0.7F});
  expect_distribution(logits, {.top_p = 0.01F});
  expect_distribution(logits, {.min_p = 0.2F});
  expect_distribution(logits, {.temperature = 1.3F, .top_k = 6, .top_p = 0.8F, .min_p = 0.15F});
  expect_distribution(logits, {.typical_p = 0.5F});
  expect_distribution(logits, {.temperature = 1.7F, .min_p = 0.05F, .typical_p = 0.7F});
  expect_distribution(logits, {.temperature = 0.8F, .top_k = 8, .top_p = 0.9F, .typical_p = 0.6F});
}

TEST(CpuSampler, NucleusOfAFlatVocabulary) {  // longer than the first runs that are looked at
  std::vector<float> logits(5000, 1.F);
  Sampler sample(5000);
  std::int32_t largest = 0;
  for (int i = 0; i < 3000; ++i) {
    const auto token = sample(logits, with({.top_p = 0.5F, .seed = 5}), i).token;
    ASSERT_GE(token, 0);
    ASSERT_LE(token, 2501);
    largest = std::max(largest, token);
  }
  EXPECT_GT(largest, 2400);
}

TEST(CpuSampler, GreedyTakesTheLowestIdOnTies) {
  const std::vector<float> logits = {1.F, 3.F, NAN, 3.F, -kInf};
  Sampler sample(5);
  EXPECT_EQ(sample(logits, with({.temperature = 0.F})).token, 1);
  EXPECT_EQ(sample(logits, with({.top_k = 1})).token, 1);
  EXPECT_EQ(sample(logits, with({.temperature = 1e-9F})).token, 1);
  for (int i = 0; i < 100; ++i) {
    const auto token = sample(logits, with({.seed = 1}), i).token;
    EXPECT_TRUE(token == 0 || token == 1 || token == 3) << token;
  }
}

TEST(CpuSampler, SelectTopIsASortCutOff) {
  for (const std::size_t size : {1U, 5U, 1000U, 5000U})
    for (const std::int64_t count : {1, 3, 300, 10000}) {
      auto logits = random_logits(size, 7, 1.F);
      for (std::size_t i = 0; i < size; i += 3) logits[i] = std::round(logits[i]);  // ties
      std::vector<Candidate> buffer(size);
      const auto got = select_top(logits, count, buffer);
      std::vector<std::int32_t> order(size);
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
        return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)];
      });
      ASSERT_EQ(got.size(), std::min<std::size_t>(size, static_cast<std::size_t>(count)));
      for (std::size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i].token, order[i]);
    }
}

TEST(CpuSampler, NumbersDependOnSeedSampleAndPosition) {
  const auto logits = random_logits(1000, 1, 1.F);
  Sampler sample(1000);
  const auto draw = [&](std::uint64_t seed, std::int32_t index) {
    std::vector<std::int32_t> out;
    SamplingState state = with({.seed = seed});
    state.sample_index = index;
    for (int position = 0; position < 20; ++position)
      out.push_back(sample(logits, state, position).token);
    return out;
  };
  EXPECT_EQ(draw(1, 0), draw(1, 0));
  EXPECT_NE(draw(1, 0), draw(2, 0));
  EXPECT_NE(draw(1, 0), draw(1, 1));
  EXPECT_NE(draw(1, 0), draw(std::uint64_t{1} << 32, 0));
}

TEST(CpuSampler, Penalties) {
  const std::vector<float> logits = {2.F, 1.9F, -1.F, 0.F};
  Sampler sample(4);
  SamplingState state = with({.temperature = 0.F, .repetition_penalty = 2.F});
  EXPECT_EQ(sample(logits, state).token, 0);
  state.history.use[0] = {};  // of the prompt: 2 / 2 = 1
  EXPECT_EQ(sample(logits, state).token, 1);
  const std::vector<float> negative = {-1.F, -1.5F, -9.F, -9.F};
  EXPECT_EQ(sample(negative, state).token, 1);  // -1 * 2 = -2
  state = with({.temperature = 0.F, .presence_penalty = 0.5F});
  state.history.use[0] = {};
  EXPECT_EQ(sample(logits, state).token, 0);  // the prompt does not count
  state.history.use[0] = {.outputs = 1};
  EXPECT_EQ(sample(logits, state).token, 1);
  state.params = {.temperature = 0.F, .frequency_penalty = 0.04F};
  state.history.use[0] = {.outputs = 2};
  EXPECT_EQ(sample(logits, state).token, 0);
  state.history.use[0] = {.outputs = 3};
  EXPECT_EQ(sample(logits, state).token, 1);
  state.history.use[400] = {.outputs = 3};  // beyond the vocabulary: ignored
  EXPECT_EQ(sample(logits, state).token, 1);
}

TEST(CpuSampler, HoldsEndIdsBack) {
  const std::vector<float> logits = {5.F, 1.F, 4.F};
  Sampler sample(3);
  SamplingState state = with({.temperature = 0.F, .min_tokens = 2});
  state.end_ids = {0, 0, -1, 77};
  EXPECT_EQ(sample(logits, state).token, 2);
  state.history.output_tokens = 2;
  EXPECT_EQ(sample(logits, state).token, 0);
  state.history.output_tokens = 0;
  const std::uint32_t only_end[] = {1U};
  EXPECT_EQ(sample(logits, state, 0, only_end).token, 0);  // nothing else may follow
}

TEST(CpuSampler, Masks) {
  const auto logits = random_logits(70, 2, 1.F);
  Sampler sample(70);
  std::vector<std::uint32_t> allowed = {0, 1U << 3, 1U << 1};  // 35 and 65
  for (int i = 0; i < 50; ++i) {
    for (const SamplingParams& params : {SamplingParams{.seed = 1},
                                         {.top_k = 9, .seed = 1},
                                         {.top_p = 0.9F, .seed = 1},
                                         {.temperature = 0.F}}) {
      const auto token = sample(logits, with(params), i, allowed).token;
      EXPECT_TRUE(token == 35 || token == 65) << token;
    }
  }
  allowed = {0, 1U << 3};  // a short mask allows nothing beyond its end
  EXPECT_EQ(sample(logits, with({.seed = 3}), 0, allowed).token, 35);
  allowed = {0, 0, 0};
  for (const SamplingParams& params : {SamplingParams{.seed = 1},
                                       {.top_k = 9},
                                       {.top_p = 0.9F},
                                       {.temperature = 0.F},
                                       {.logprobs = 2}})
    EXPECT_EQ(sample(logits, with(params), 0, allowed).token, -1);
}

TEST(CpuSampler, LogProbabilitiesAreOfTheRawLogits) {
  const auto logits = random_logits(3000, 4, 3.F);
  double total = 0;
  for (const float x : logits) total += std::exp(static_cast<double>(x));
  for (const char* isa : {"", "baseline"}) {
    Sampler sample(3000, isa);
    SamplingState state =
        with({.temperature = 0.3F, .top_k = 50, .repetition_penalty = 1.5F, .logprobs = 5});
    state.history.use[7] = {.outputs = 1};
    const SampledToken got = sample(logits, state, 9);
    EXPECT_NEAR(got.logprob,
                static_cast<double>(logits[static_cast<std::size_t>(got.token)]) - std::log(total),
                1e-5);
    ASSERT_EQ(got.top.size(), 5U);
    for (std::size_t i = 0; i < 5; ++i) {
      EXPECT_NEAR(
          got.top[i].logprob,
          static_cast<double>(logits[static_cast<std::size_t>(got.top[i].token)]) - std::log(total),
          1e-5);
      EXPECT_LE(got.top[i].logprob, got.top[i > 0 ? i - 1 : 0].logprob);
    }
    EXPECT_EQ(got.top[0].token, argmax(logits));
    state.params.logprobs = 0;
    EXPECT_TRUE(sample(logits, state, 9).top.empty());
  }
}

}  // namespace
}  // namespace tenon::cpu
