// The device's sampler draws the tokens that the CPU's draws, from the same logits and the same
// history of updates.
// SPDX-License-Identifier: Apache-2.0
#include <numeric>

#include "cuda_sampler_support.h"

namespace tenon::cuda {
namespace {

using cpu::random_logits;

constexpr std::int32_t kVocabularies[] = {11, 1000, 50257};

// Every set of parameters in a slot of its own, some steps long.
void expect_same(std::vector<SamplingParams> all, std::int32_t vocabulary, float deviation,
                 int steps = 25, const std::vector<std::uint32_t>& allowed = {}) {
  const auto count = static_cast<std::int32_t>(all.size());
  Twins twins(count, vocabulary);
  std::vector<SlotUpdate> updates;
  for (std::int32_t s = 0; s < count; ++s) {
    SamplingParams& params = all[static_cast<std::size_t>(s)];
    params.seed = 99;
    updates.push_back(start(s, params, {1, 2, 2, 5, 9}, {3, 4}));
  }
  twins.apply(updates);
  LateInputs late;
  if (!allowed.empty()) late.allowed_tokens.assign(all.size(), allowed);
  for (int i = 1; i <= steps && !testing::Test::HasFatalFailure(); ++i)
    twins.step(
        {random_logits(static_cast<std::size_t>(vocabulary), static_cast<unsigned>(i), deviation)},
        4 + i, late);
}

TEST(CudaSampler, Greedy) {
  TENON_NEEDS_GPU();
  for (const std::int32_t vocabulary : kVocabularies)
    expect_same({{.temperature = 0.F}, {.temperature = 0.F, .logprobs = 5}, {.top_k = 1}},
                vocabulary, 3.F);
}

TEST(CudaSampler, WhichTokensStay) {
  TENON_NEEDS_GPU();
  for (const std::int32_t vocabulary : kVocabularies)
    expect_same({{.temperature = 0.3F},
                 {},
                 {.temperature = 2.F},
                 {.top_k = 2},
                 {.top_k = 40, .logprobs = 3},
                 {.top_p = 0.9F},
                 {.top_p = 0.1F},
                 {.temperature = 0.7F, .top_k = 50, .top_p = 0.8F},
                 {.min_p = 0.05F},
                 {.top_p = 0.95F, .min_p = 0.02F},
                 {.top_p = 0.95F, .top_p_decay = 0.8F, .top_p_min = 0.2F, .top_p_reset_id = 7},
                 {.top_p = 0.F, .top_p_decay = 0.5F},
                 {.typical_p = 0.5F},
                 {.temperature = 1.7F, .min_p = 0.05F, .typical_p = 0.7F},
                 {.temperature = 0.8F, .top_k = 8, .top_p = 0.9F, .typical_p = 0.6F}},
                vocabulary, 2.F);
}

TEST(CudaSampler, Processors) {
  TENON_NEEDS_GPU();
  for (const std::int32_t vocabulary : {11, 1000})
    expect_same({{.temperature = 0.F, .repetition_penalty = 1.5F},
                 {.presence_penalty = 0.7F, .frequency_penalty = 0.4F},
                 {.repetition_penalty = 1.2F, .frequency_penalty = 0.2F, .min_tokens = 20},
                 {.repetition_penalty = 1.4F, .prompt_ignore_length = 3},
                 {.temperature = 0.F, .no_repeat_ngram_size = 1},
                 {.no_repeat_ngram_size = 2},
                 {.temperature = 0.4F, .no_repeat_ngram_size = 3, .logprobs = 2},
                 {.temperature = 0.F, .logit_bias = {{3, 4.F}, {8, -100.F}, {70000, 9.F}}},
                 {.top_p = 0.8F, .repetition_penalty = 1.3F, .logit_bias = {{1, 2.F}, {2, -1.F}}},
                 {.temperature = 0.F, .bad_words = {{0}, {9, 10}, {2, 5, 9, 6}, {7, 3}, {90000}}},
                 {.temperature = 0.5F, .bad_words = {{4}, {6}}, .min_tokens = 30},
                 {.top_k = 5,
                  .typical_p = 0.8F,
                  .presence_penalty = 0.3F,
                  .logit_bias = {{10, 3.F}},
                  .no_repeat_ngram_size = 2,
                  .bad_words = {{0}, {1, 1}}}},
                vocabulary, 1.F, 10);
}

TEST(CudaSampler, Masks) {
  TENON_NEEDS_GPU();
  expect_same({{.top_p = 0.9F}, {}, {.typical_p = 0.9F}, {.beam_width = 2}}, 70, 2.F, 20,
              {0x10F0U, 0x3U});
  expect_same({{.temperature = 0.F, .min_tokens = 50}}, 70, 2.F, 20, {0x18U});  // ends alone
  expect_same({{.temperature = 0.F}, {}, {.top_p = 0.5F}, {.typical_p = 0.5F}, {.beam_width = 3}},
              70, 2.F, 5, {0x0U});  // nothing
}

TEST(CudaSampler, EqualLogitsGoByTheLowestId) {
  TENON_NEEDS_GPU();
  std::vector<float> flat(5000, 1.F);
  flat[2] = flat[4998] = NAN;
  flat[4] = -INFINITY;
  std::vector<float> zeros(5000, 0.F);
  for (std::size_t i = 0; i < zeros.size(); i += 3) zeros[i] = -0.F;
  const std::vector<SamplingParams> all = {{.temperature = 0.F},
                                           {.top_k = 7},
                                           {.top_k = 2500, .top_p = 0.3F},
                                           {.top_p = 0.5F},
                                           {.temperature = 0.F, .logprobs = 20},
                                           {},
                                           {.typical_p = 0.4F},
                                           {.beam_width = 5}};
  Twins twins(8, 5000);
  for (std::int32_t s = 0; s < 8; ++s) twins.apply({start(s, all[static_cast<std::size_t>(s)])});
  for (std::int32_t i = 1; i < 20; ++i) {
    twins.step({flat}, i);
    twins.step({zeros}, i);
  }
}

TEST(CudaSampler, InfiniteLogits) {
  TENON_NEEDS_GPU();
  const std::vector<SamplingParams> all = {{}, {.typical_p = 0.5F}, {.temperature = 0.F}};
  Twins twins(3, 3);
  for (std::int32_t s = 0; s < 3; ++s) twins.apply({start(s, all[static_cast<std::size_t>(s)])});
  twins.step({{1.F, INFINITY, 3.F}}, 1);
  twins.step({{NAN, -INFINITY, -INFINITY}}, 1);
}

TEST(CudaSampler, ListsAsManyTokensAsAreWanted) {
  TENON_NEEDS_GPU();
  std::vector<std::int32_t> ends(100);
  std::iota(ends.begin(), ends.end(), 0);
  Twins twins(5, 3000);
  twins.apply({start(0, {.logprobs = 129}), start(1, {.logprobs = 5000}),
               start(2, {.temperature = 0.F, .logprobs = 0}),
               start(3, {.temperature = 1.3F, .beam_width = 6}, {}, ends),
               start(4, {.temperature = 0.F, .min_tokens = 3}, {}, ends)});
  for (std::int32_t i = 1; i < 6; ++i)
    twins.step({random_logits(3000, static_cast<unsigned>(i), 2.F)}, i);
}

const SamplingParams kAll{.repetition_penalty = 1.5F,
                          .frequency_penalty = 0.3F,
                          .no_repeat_ngram_size = 2,
                          .bad_words = {{4, 5}},
                          .seed = 3};

// Beams that change places, fork, and end where a slot begins anew.
TEST(CudaSampler, BeamsTakeOverHistories) {
  TENON_NEEDS_GPU();
  SamplingParams beam = kAll;
  beam.beam_width = 3;
  Twins twins(4, 60);
  twins.apply({start(0, beam, {1, 2, 3}, {7}), start(1, beam, {1, 2, 3}, {7}),
               start(2, beam, {1, 2, 3}, {7}), start(3, kAll, {9, 9, 4})});
  int i = 0;
  const auto go = [&] {
    ++i;
    twins.step({random_logits(60, static_cast<unsigned>(i), 2.F)}, 3 + i);
  };
  go();
  twins.apply({follow(0, 0, 20), follow(1, 0, 21), follow(2, 0, 22)});  // a fork
  go();
  twins.apply({follow(0, 1, 30), follow(1, 2, 31), follow(2, 0, 32)});  // a ring
  go();
  twins.apply({follow(0, 1, 20), follow(1, 0, 21), follow(2, 2, 2)});  // a swap, one of itself
  go();
  SlotUpdate silent{.slot = 2};  // the last token is the parent's
  silent.parent = 3;
  twins.apply({start(0, beam, {5}, {7}), follow(1, 0, 40), silent});
  go();
  // Two batches before one step: the second's parents are as the first left them.
  twins.apply({follow(0, 1, 11), follow(1, 0, 12)});
  twins.apply({follow(1, 0, 13), follow(0, 1, 14)});
  go();
  SamplingParams less = beam;
  less.no_repeat_ngram_size = 0;
  less.bad_words.clear();
  twins.apply({start(2, less, {1})});
  go();
  twins.apply({follow(2, 0, 6)});  // needs less than its parent kept
  go();
}

TEST(CudaSampler, AnEvictedSequenceComesBackWithItsHistory) {
  TENON_NEEDS_GPU();
  SamplingParams params = kAll;
  params.top_p = 0.9F;
  params.top_p_decay = 0.7F;
  params.top_p_reset_id = 6;
  Twins twins(2, 40);
  SlotUpdate back = start(1, params, {1, 2});
  back.outputs = {5, 6, 5, 2, 9};
  twins.apply({start(0, params, {1, 2}), back});
  for (int i = 1; i < 30; ++i) twins.step({random_logits(40, static_cast<unsigned>(i), 1.F)}, i);
  twins.apply({start(0, params, {3}), start(1, {}, {})});  // what was there is forgotten
  for (int i = 1; i < 9; ++i) twins.step({random_logits(40, static_cast<unsigned>(i), 1.F)}, i);
  twins.apply({start(1, params, {})});
  for (int i = 1; i < 9; ++i) twins.step({random_logits(40, static_cast<unsigned>(i), 1.F)}, i);
}

TEST(CudaSampler, LateLogitsTakeTheStepsPlace) {
  TENON_NEEDS_GPU();
  Twins twins(4, 300);
  twins.apply({start(0, {.top_p = 0.9F, .seed = 1, .logprobs = 4}), start(1, {.seed = 2}),
               start(2, {.repetition_penalty = 1.3F, .seed = 3}, {1, 2}),
               start(3, {.beam_width = 2}, {}, {8})});
  for (std::int32_t i = 1; i < 12; ++i) {
    LateInputs late;
    late.logits.resize(4);
    for (const std::size_t s : {0U, 2U, 3U})
      if (i % 3 != 0)
        late.logits[s] =
            random_logits(300, static_cast<unsigned>(i) * 7U + static_cast<unsigned>(s), 2.F);
    if (i % 2 == 0) late.allowed_tokens = {{~0U, 0xFFU}, {}, {0, 0, 0xF0F0U}, {0x1FFFFU}};
    twins.step({random_logits(300, static_cast<unsigned>(i), 2.F)}, i, late);
  }
  LateInputs wrong;
  wrong.logits.resize(4);
  wrong.logits[1].resize(299);
  EXPECT_THROW(twins.step({random_logits(300, 1, 2.F)}, 12, wrong), Error);
}

}  // namespace
}  // namespace tenon::cuda
