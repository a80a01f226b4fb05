// The device's sampler over the cases that transformers' processors and warpers gave results for:
// the CPU's are tested against these, and here the device against both.
// SPDX-License-Identifier: Apache-2.0
#include "cuda_sampler_support.h"
#include "sampler_cases.h"

namespace tenon::cuda {
namespace {

SlotUpdate update_of(const Json& row, std::int32_t slot) {
  SlotUpdate update =
      start(slot, cpu::params_of(row.at("params", "case")), cpu::ids_of(row.at("prompt", "case")),
            cpu::ids_of(row.at("end_ids", "case")));
  update.outputs = cpu::ids_of(row.at("outputs", "case"));
  update.sampling->seed = 17;
  return update;
}

// With 512 numbers: every token that is likely enough to be met is, and none that was cut.
TEST(CudaSamplerFixtures, DrawsOfWhatTransformersKeeps) {
  TENON_NEEDS_GPU();
  constexpr std::int32_t kDraws = 512;
  const Json::Array& cases = cpu::sampling_fixtures().at("cases", "file").as_array("cases");
  ASSERT_GT(cases.size(), 50U);
  Twins twins(kDraws, static_cast<std::int32_t>(cpu::logits_of(cases[0]).size()));
  for (const Json& row : cases) {
    SCOPED_TRACE(row.at("name", "case").as_string("name"));
    std::vector<SlotUpdate> updates;
    for (std::int32_t s = 0; s < kDraws; ++s) updates.push_back(update_of(row, s));
    twins.apply(updates);
    std::map<std::int32_t, double> kept;
    for (const Json& pair : row.at("kept", "case").as_array("kept"))
      kept[static_cast<std::int32_t>(pair.as_array("kept")[0].as_int("token"))] =
          pair.as_array("kept")[1].as_double("p");
    std::map<std::int32_t, int> drawn;
    for (const SequenceResult& result : twins.step({cpu::logits_of(row)}, 40)) {
      ASSERT_EQ(result.tokens.size(), 1U);
      ++drawn[result.tokens[0]];
    }
    for (const auto& [token, times] : drawn)
      EXPECT_TRUE(kept.contains(token)) << "token " << token << ", " << times << " times";
    for (const auto& [token, p] : kept) {
      if (p > 0.05) {
        EXPECT_GT(drawn[token], 0) << "token " << token << " of probability " << p;
      }
    }
  }
}

// A beam of great width lists every token that is left, so the processed row is seen whole.
TEST(CudaSamplerFixtures, ListsWhatTransformersProcessed) {
  TENON_NEEDS_GPU();
  const Json::Array& cases = cpu::sampling_fixtures().at("beams", "file").as_array("beams");
  ASSERT_EQ(cases.size(), 6U);
  const std::vector<float> first = cpu::logits_of(cases[0]);
  Twins twins(2, static_cast<std::int32_t>(first.size()));
  for (const Json& row : cases) {
    SCOPED_TRACE(row.at("name", "case").as_string("name"));
    SlotUpdate four = update_of(row, 0);
    four.sampling->beam_width = 4;
    SlotUpdate whole = update_of(row, 1);
    whole.sampling->beam_width = 100;
    twins.apply({four, whole});
    const auto got = twins.step({cpu::logits_of(row)}, 40);
    EXPECT_EQ(got[0].top_logprobs[0].size(), 12U);  // 4 beams, 2 end ids
    const std::vector<float> expected = cpu::row_of(row.at("processed", "case"));
    std::size_t left = 0;
    for (const float x : expected) left += x > cpu::kNever ? 1 : 0;
    ASSERT_EQ(got[1].top_logprobs[0].size(), left);
    for (const TokenLogprob& token : got[1].top_logprobs[0]) {
      const float want = expected[static_cast<std::size_t>(token.token)];
      EXPECT_NEAR(token.logprob, want, 1e-5F * (1.F + std::fabs(want)));
    }
  }
}

}  // namespace
}  // namespace tenon::cuda
