// Beam search of tiny models against Hugging Face transformers: sequences and scores, alone and
// beside other requests.
// SPDX-License-Identifier: Apache-2.0
#include <map>

#include "beam_cases.h"

namespace tenon::test {
namespace {

constexpr double kTolerance = 1e-4;

LlmOptions beam_options() {
  LlmOptions options = tiny_options();
  options.max_batch_size = 16;
  return options;
}

std::map<std::string, std::vector<BeamCase>> cases_by_model() {
  std::map<std::string, std::vector<BeamCase>> models;
  const std::vector<BeamCase> cases = read_beam_cases("models.json");
  for (const BeamCase& one : cases) models[one.model].push_back(one);
  return models;
}

TEST(Beam, SequencesAndScoresOfTransformers) {
  const auto models = cases_by_model();
  ASSERT_GE(models.size(), 4U);
  for (const auto& [model, cases] : models) {
    LLM llm(data_path("models") / model, beam_options());
    for (const BeamCase& one : cases) {
      SCOPED_TRACE(model + ", " + std::to_string(one.sampling.beam_width) + " beams");
      expect_beams(one, llm.generate_ids({one.prompt}, one.sampling).at(0), kTolerance);
    }
  }
}

TEST(Beam, PromptsInFlightTogetherChangeNothing) {
  const auto models = cases_by_model();
  for (const auto& [model, cases] : models) {
    SCOPED_TRACE(model);
    LLM llm(data_path("models") / model, beam_options());
    const BeamCase& one = cases.front();
    const std::vector<std::int32_t> other(one.prompt.begin(), one.prompt.begin() + 17);
    const auto outputs = llm.generate_ids({other, one.prompt, other, one.prompt}, one.sampling);
    expect_beams(one, outputs.at(1), kTolerance);
    expect_beams(one, outputs.at(3), kTolerance);
    for (std::size_t i = 0; i < outputs[0].outputs.size(); ++i)
      EXPECT_EQ(outputs[0].outputs[i].token_ids, outputs[2].outputs[i].token_ids);
  }
}

TEST(Beam, FewerBeamsThanItsWidthComeBackWhereNSaysSo) {
  const auto models = cases_by_model();
  const auto& [model, cases] = *models.begin();
  LLM llm(data_path("models") / model, beam_options());
  BeamCase one = cases.back();
  one.sampling.n = 1;
  one.beams.resize(1);
  expect_beams(one, llm.generate_ids({one.prompt}, one.sampling).at(0), kTolerance);
}

TEST(Beam, LogprobsAreThoseOfTheLogits) {
  const auto models = cases_by_model();
  const auto& [model, cases] = *models.begin();
  LLM llm(data_path("models") / model, beam_options());
  BeamCase one = cases.front();
  one.sampling.logprobs = 3 * one.sampling.beam_width + 20;  // more than the search looks at
  one.sampling.return_generation_logits = true;
  one.sampling.return_context_logits = true;
  const RequestOutput got = llm.generate_ids({one.prompt}, one.sampling).at(0);
  expect_beams(one, got, kTolerance);
  EXPECT_EQ(got.context_logits.first_position, 0);
  for (const CompletionOutput& output : got.outputs) {
    const TokenLogits& logits = output.generation_logits;
    const auto vocab = static_cast<std::size_t>(logits.vocab_size);
    EXPECT_EQ(logits.first_position, std::ssize(one.prompt) - 1);
    ASSERT_EQ(logits.values.size(), output.token_ids.size() * vocab);
    ASSERT_EQ(output.logprobs.size(), output.token_ids.size());
    std::vector<std::int32_t> ids = one.prompt;
    ids.insert(ids.end(), output.token_ids.begin(), output.token_ids.end() - 1);
    const TokenLogits alone = llm.logits(ids);
    for (std::size_t t = 0; t < output.token_ids.size(); ++t) {
      const float* row = logits.values.data() + t * vocab;
      const float* same = alone.values.data() + (one.prompt.size() - 1 + t) * vocab;
      double total = 0;
      float largest = row[0];
      for (std::size_t v = 0; v < vocab; ++v) {
        EXPECT_NEAR(row[v], same[v], 1e-4);
        total += std::exp(static_cast<double>(row[v]));
        largest = std::max(largest, row[v]);
      }
      const TokenLogprobs& told = output.logprobs[t];
      EXPECT_EQ(told.token_id, output.token_ids[t]);
      const auto logprob = [&](std::int32_t id) { return double{row[id]} - std::log(total); };
      EXPECT_NEAR(told.logprob, logprob(told.token_id), 1e-4);
      ASSERT_EQ(std::ssize(told.top), *one.sampling.logprobs);
      EXPECT_NEAR(told.top.front().second, double{largest} - std::log(total), 1e-4);
      for (std::size_t k = 0; k < told.top.size(); ++k) {
        EXPECT_NEAR(told.top[k].second, logprob(told.top[k].first), 1e-4);
        EXPECT_LE(told.top[k].second, told.top[k > 0 ? k - 1 : 0].second);
      }
    }
  }
}

}  // namespace
}  // namespace tenon::test
