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

}  // namespace
}  // namespace tenon::test
