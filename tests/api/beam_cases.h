// What transformers' generate(num_beams) gave (tools/make_beam_fixtures.py), and the same asked of
// an LLM.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include "core/file.h"
#include "core/json.h"
#include "fixture.h"

namespace tenon::test {

struct BeamCase {
  std::string model;  ///< below tests/data/models; empty: the real one
  std::vector<std::int32_t> prompt;
  SamplingParams sampling;
  struct Beam {
    std::vector<std::int32_t> ids;
    double score = 0;
  };
  std::vector<Beam> beams;  ///< best first
};

inline std::vector<BeamCase> read_beam_cases(const char* name) {
  const std::filesystem::path path = data_path("beam") / name;
  const Json file = Json::parse(read_file(path), path.string());
  const auto ids_of = [](const Json& json) {
    std::vector<std::int32_t> ids;
    for (const Json& id : json.as_array("ids"))
      ids.push_back(static_cast<std::int32_t>(id.as_int("id")));
    return ids;
  };
  std::vector<BeamCase> cases;
  for (const Json& row : file.as_array("cases")) {
    const auto number = [&row](const char* key) {
      return static_cast<std::int32_t>(row.at(key, "case").as_int(key));
    };
    BeamCase one;
    if (const Json* model = row.find("model")) one.model = model->as_string("model");
    one.prompt = ids_of(row.at("prompt_ids", "case"));
    one.sampling.beam_width = number("beam_width");
    one.sampling.n = number("n");
    one.sampling.early_stopping = number("early_stopping");
    one.sampling.max_tokens = number("max_tokens");
    one.sampling.length_penalty =
        static_cast<float>(row.at("length_penalty", "case").as_double("length_penalty"));
    for (const Json& beam : row.at("beams", "case").as_array("beams"))
      one.beams.push_back(
          {ids_of(beam.at("ids", "beam")), beam.at("score", "beam").as_double("score")});
    cases.push_back(std::move(one));
  }
  return cases;
}

/// `tolerance`: of a token's log-probability.
inline void expect_beams(const BeamCase& expected, const RequestOutput& got, double tolerance) {
  ASSERT_EQ(got.outputs.size(), expected.beams.size());
  for (std::size_t i = 0; i < expected.beams.size(); ++i) {
    SCOPED_TRACE("beam " + std::to_string(i));
    const BeamCase::Beam& beam = expected.beams[i];
    const CompletionOutput& output = got.outputs[i];
    EXPECT_EQ(output.token_ids, beam.ids);
    const auto length = static_cast<double>(beam.ids.size());
    const double scale = std::pow(length, static_cast<double>(expected.sampling.length_penalty));
    EXPECT_NEAR(output.score, beam.score, tolerance * length / scale);
    EXPECT_NEAR(output.cumulative_logprob, beam.score * scale, tolerance * length);
    const bool whole = std::ssize(beam.ids) == *expected.sampling.max_tokens;
    EXPECT_TRUE(output.finish_reason == FinishReason::kEndId ||
                (whole && output.finish_reason == FinishReason::kLength));
  }
}

}  // namespace tenon::test
