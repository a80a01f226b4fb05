// Sampling parameters that make no sense are refused with the field's name; those at the border of
// their range are not.
// SPDX-License-Identifier: Apache-2.0
#include "runtime/sampling_check.h"

#include <gmock/gmock.h>

#include <cmath>
#include <functional>
#include <limits>

#include "tenon/error.h"

namespace tenon {
namespace {

using testing::StartsWith;

using Change = std::function<void(SamplingParams&)>;

SamplingParams with(const Change& change) {
  SamplingParams params;
  change(params);
  return params;
}

std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.what();
  }
  return "no error";
}

struct Case {
  const char* field;  // the message begins with it
  Change change;
};

void expect_refused(const std::vector<Case>& cases) {
  for (const auto& [field, change] : cases)
    EXPECT_THAT(error_of([&] { validate(with(change)); }), StartsWith(std::string(field) + ": "));
}

TEST(SamplingCheck, RangesOfNumbers) {
  expect_refused({
      {"temperature", [](auto& p) { p.temperature = -0.1F; }},
      {"top_k", [](auto& p) { p.top_k = -2; }},
      {"top_p", [](auto& p) { p.top_p = 1.1F; }},
      {"top_p_decay", [](auto& p) { p.top_p_decay = 0.F; }},
      {"top_p_decay", [](auto& p) { p.top_p_decay = 1.01F; }},
      {"top_p_min", [](auto& p) { p.top_p_min = 0.F; }},
      {"top_p_min", [](auto& p) { p.top_p_min = 2.F; }},
      {"top_p_reset_id", [](auto& p) { p.top_p_reset_id = -1; }},
      {"min_p", [](auto& p) { p.min_p = -0.1F; }},
      {"typical_p", [](auto& p) { p.typical_p = 0.F; }},
      {"typical_p", [](auto& p) { p.typical_p = 1.5F; }},
      {"repetition_penalty", [](auto& p) { p.repetition_penalty = 0.F; }},
      {"presence_penalty", [](auto& p) { p.presence_penalty = 1e4F; }},
      {"frequency_penalty", [](auto& p) { p.frequency_penalty = -1e4F; }},
      {"prompt_ignore_length", [](auto& p) { p.prompt_ignore_length = -1; }},
      {"no_repeat_ngram_size", [](auto& p) { p.no_repeat_ngram_size = -1; }},
      {"max_tokens", [](auto& p) { p.max_tokens = 0; }},
      {"min_tokens", [](auto& p) { p.min_tokens = -1; }},
      {"logprobs", [](auto& p) { p.logprobs = 101; }},
      {"prompt_logprobs", [](auto& p) { p.prompt_logprobs = -1; }},
      {"prompt_logprobs", [](auto& p) { p.prompt_logprobs = 101; }},
      {"n", [](auto& p) { p.n = 0; }},
      {"best_of", [](auto& p) { p.best_of = -1; }},
      {"best_of", [](auto& p) { p.best_of = 257; }},
      {"beam_width", [](auto& p) { p.beam_width = 0; }},
      {"beam_width", [](auto& p) { p.beam_width = 257; }},
      {"length_penalty", [](auto& p) { p.length_penalty = 33.F; }},
      {"early_stopping", [](auto& p) { p.early_stopping = 2; }},
      {"early_stopping", [](auto& p) { p.early_stopping = -2; }},
      {"beam_search_diversity_rate", [](auto& p) { p.beam_search_diversity_rate = -1.F; }},
  });
}

TEST(SamplingCheck, NothingIsNaNOrInfinite) {
  const std::vector<std::pair<const char*, float SamplingParams::*>> fields = {
      {"temperature", &SamplingParams::temperature},
      {"top_p", &SamplingParams::top_p},
      {"top_p_decay", &SamplingParams::top_p_decay},
      {"top_p_min", &SamplingParams::top_p_min},
      {"min_p", &SamplingParams::min_p},
      {"typical_p", &SamplingParams::typical_p},
      {"repetition_penalty", &SamplingParams::repetition_penalty},
      {"presence_penalty", &SamplingParams::presence_penalty},
      {"frequency_penalty", &SamplingParams::frequency_penalty},
      {"length_penalty", &SamplingParams::length_penalty},
      {"beam_search_diversity_rate", &SamplingParams::beam_search_diversity_rate}};
  for (const auto& [field, member] : fields)
    for (const float value : {NAN, INFINITY, -INFINITY})
      expect_refused({{field, [member = member, value](auto& p) { p.*member = value; }}});
}

TEST(SamplingCheck, Lists) {
  const std::vector<std::vector<std::int32_t>> many(4097, {1});
  expect_refused({
      {"logit_bias", [](auto& p) { p.logit_bias = {{-1, 1.F}}; }},
      {"logit_bias", [](auto& p) { p.logit_bias = {{1, NAN}}; }},
      {"logit_bias", [](auto& p) { p.logit_bias = {{1, -INFINITY}}; }},
      {"logit_bias", [](auto& p) { p.logit_bias = {{3, 1.F}, {1, 1.F}, {3, 1.F}}; }},
      {"logit_bias", [](auto& p) { p.logit_bias.resize((1U << 20U) + 1); }},
      {"bad_words", [](auto& p) { p.bad_words = {{1}, {}}; }},
      {"bad_words", [](auto& p) { p.bad_words = {{1, -1}}; }},
      {"bad_words", [&](auto& p) { p.bad_words = many; }},
      {"bad_words", [](auto& p) { p.bad_words = {std::vector<std::int32_t>(1025, 1)}; }},
      {"stop_words", [](auto& p) { p.stop_words = {{}}; }},
      {"stop_words", [&](auto& p) { p.stop_words = many; }},
      {"stop_token_ids", [](auto& p) { p.stop_token_ids.resize(4097); }},
      {"stop", [](auto& p) { p.stop = {"a", ""}; }},
      {"stop", [](auto& p) { p.stop = {std::string(4097, 'a')}; }},
      {"stop", [](auto& p) { p.stop.assign(65, "a"); }},
      {"bad", [](auto& p) { p.bad = {""}; }},
      {"bad", [](auto& p) { p.bad.assign(65, "a"); }},
  });
}

TEST(SamplingCheck, Contradictions) {
  expect_refused({
      {"min_tokens", [](auto& p) { p.min_tokens = 5, p.max_tokens = 4; }},
      {"best_of", [](auto& p) { p.best_of = 2, p.n = 3; }},
      {"best_of", [](auto& p) { p.best_of = 2, p.beam_width = 2; }},
      {"n", [](auto& p) { p.n = 3, p.beam_width = 2; }},
      {"top_p_min", [](auto& p) { p.top_p = 0.5F, p.top_p_decay = 0.9F, p.top_p_min = 0.6F; }},
  });
}

TEST(SamplingCheck, BordersAreInside) {
  for (const Change& change : std::vector<Change>{
           [](auto&) {}, [](auto& p) { p.temperature = 0.F, p.top_k = -1, p.top_p = 0.F; },
           [](auto& p) { p.top_p_decay = 1e-3F, p.top_p_min = 1.F, p.top_p_reset_id = 0; },
           [](auto& p) { p.top_p = 0.F, p.top_p_decay = 0.5F, p.top_p_min = 0.9F; },
           [](auto& p) { p.top_p = 0.5F, p.top_p_min = 0.9F; },  // nothing decays
           [](auto& p) { p.typical_p = 1e-6F, p.min_p = 1.F; },
           [](auto& p) { p.no_repeat_ngram_size = 1 << 30, p.prompt_ignore_length = 1 << 30; },
           [](auto& p) { p.logit_bias = {{0, 1e9F}, {1, -1e9F}}, p.bad_words = {{0}, {0, 0}}; },
           [](auto& p) { p.n = 256, p.best_of = 256, p.logprobs = 100, p.prompt_logprobs = 0; },
           [](auto& p) { p.n = 256, p.beam_width = 256, p.early_stopping = -1; },
           [](auto& p) { p.min_tokens = 4, p.max_tokens = 4; }})
    EXPECT_NO_THROW(validate(with(change)));
}

TEST(SamplingCheck, IdsAreInTheVocabulary) {
  const std::vector<Case> cases = {
      {"top_p_reset_id", [](auto& p) { p.top_p_reset_id = 10; }},
      {"logit_bias", [](auto& p) { p.logit_bias = {{9, 1.F}, {10, 1.F}}; }},
      {"bad_words", [](auto& p) { p.bad_words = {{1}, {2, 10}}; }},
      {"stop_token_ids", [](auto& p) { p.stop_token_ids = {10}; }},
      {"stop_words", [](auto& p) { p.stop_words = {{10, 1}}; }}};
  for (const auto& [field, change] : cases) {
    const SamplingParams params = with(change);
    EXPECT_NO_THROW(validate(params));
    EXPECT_NO_THROW(check_vocabulary(params, 11));
    EXPECT_THAT(error_of([&] { check_vocabulary(params, 10); }),
                StartsWith(std::string(field) + ": token id 10 "));
  }
  EXPECT_THAT(error_of([] { check_token_ids("input_ids", {1, -1}, 10); }),
              StartsWith("input_ids: token id -1 "));
}

}  // namespace
}  // namespace tenon
