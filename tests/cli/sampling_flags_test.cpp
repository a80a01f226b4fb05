// Flags on top of a model's sampling defaults: what each sets, and how a flag chooses between
// greedy, drawing and beams.
// SPDX-License-Identifier: Apache-2.0
#include "cli/sampling_flags.h"

#include <gmock/gmock.h>

#include "tenon/error.h"

namespace tenon::cli {
namespace {

using testing::HasSubstr;

SamplingParams greedy() { return {.temperature = 0.0F}; }
SamplingParams drawing() { return {.temperature = 0.7F, .top_k = 20}; }
SamplingParams beams() { return {.temperature = 0.0F, .n = 2, .beam_width = 4}; }

SamplingParams parse(const std::vector<std::string>& words, const SamplingParams& defaults) {
  CommandLine line("tenon test", "test");
  SamplingFlags flags;
  flags.add(line);
  EXPECT_TRUE(line.parse(words));
  return flags.apply(defaults);
}

std::string error_of(const std::vector<std::string>& words) {
  try {
    parse(words, greedy());
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.what();
  }
  return "no error";
}

TEST(SamplingFlags, NoneLeaveTheDefaults) {
  for (const SamplingParams& defaults : {greedy(), drawing(), beams()})
    EXPECT_EQ(parse({}, defaults), defaults);
}

TEST(SamplingFlags, EachSetsItsField) {
  const SamplingParams params = parse({"--temperature",
                                       "0.5",
                                       "--top_k",
                                       "7",
                                       "--top_p",
                                       "0.9",
                                       "--top_p_decay",
                                       "0.8",
                                       "--top_p_min",
                                       "0.2",
                                       "--top_p_reset_id",
                                       "13",
                                       "--min_p",
                                       "0.05",
                                       "--typical_p",
                                       "0.6",
                                       "--repetition_penalty",
                                       "1.2",
                                       "--presence_penalty",
                                       "0.3",
                                       "--frequency_penalty",
                                       "-0.4",
                                       "--prompt_ignore_length",
                                       "5",
                                       "--logit_bias",
                                       "3:1.5",
                                       "4:-2",
                                       "--no_repeat_ngram_size",
                                       "3",
                                       "--bad_words",
                                       "no",
                                       "never",
                                       "--random_seed",
                                       "9",
                                       "--num_return_sequences",
                                       "2",
                                       "--best_of",
                                       "4",
                                       "--min_length",
                                       "6",
                                       "--stop_words",
                                       "end",
                                       "--ignore_eos"},
                                      greedy());
  SamplingParams expected;
  expected.temperature = 0.5F;
  expected.top_k = 7;
  expected.top_p = 0.9F;
  expected.top_p_decay = 0.8F;
  expected.top_p_min = 0.2F;
  expected.top_p_reset_id = 13;
  expected.min_p = 0.05F;
  expected.typical_p = 0.6F;
  expected.repetition_penalty = 1.2F;
  expected.presence_penalty = 0.3F;
  expected.frequency_penalty = -0.4F;
  expected.prompt_ignore_length = 5;
  expected.logit_bias = {{3, 1.5F}, {4, -2.F}};
  expected.no_repeat_ngram_size = 3;
  expected.bad = {"no", "never"};
  expected.seed = 9;
  expected.n = 2;
  expected.best_of = 4;
  expected.min_tokens = 6;
  expected.stop = {"end"};
  expected.ignore_eos = true;
  EXPECT_EQ(params, expected);
}

TEST(SamplingFlags, Beams) {
  const SamplingParams params =
      parse({"--num_beams", "3", "--length_penalty", "-0.5", "--early_stopping", "-1",
             "--beam_search_diversity_rate", "0.25", "--num_return_sequences", "3"},
            greedy());
  EXPECT_EQ(params.beam_width, 3);
  EXPECT_EQ(params.length_penalty, -0.5F);
  EXPECT_EQ(params.early_stopping, -1);
  EXPECT_EQ(params.beam_search_diversity_rate, 0.25F);
  EXPECT_EQ(params.n, 3);
  EXPECT_EQ(describe(params),
            "3 beams, length_penalty -0.5, early_stopping -1, diversity rate 0.25");
}

TEST(SamplingFlags, OneWayOfSamplingIsChosen) {
  EXPECT_EQ(parse({"--top_p", "0.9"}, greedy()).temperature, 1.0F);
  EXPECT_EQ(parse({"--typical_p", "0.9"}, greedy()).temperature, 1.0F);
  EXPECT_EQ(parse({"--top_p", "0.9", "--temperature", "0"}, greedy()).temperature, 0.0F);
  EXPECT_EQ(parse({"--top_p", "0.9"}, drawing()).temperature, 0.7F);
  // The temperature of a model's draws is not that of beams.
  EXPECT_EQ(parse({"--num_beams", "2"}, drawing()).temperature, 0.0F);
  EXPECT_EQ(parse({"--num_beams", "2", "--temperature", "1.5"}, drawing()).temperature, 1.5F);
  EXPECT_EQ(parse({"--num_beams", "1"}, drawing()).temperature, 0.7F);
  EXPECT_EQ(parse({"--top_k", "5"}, beams()).beam_width, 1);
  EXPECT_EQ(parse({"--top_k", "5"}, beams()).temperature, 1.0F);
  EXPECT_EQ(parse({"--temperature", "0.5"}, beams()).beam_width, 1);
  EXPECT_EQ(parse({"--num_beams", "1"}, beams()).beam_width, 1);
  EXPECT_EQ(parse({"--length_penalty", "2"}, beams()).beam_width, 4);
}

TEST(SamplingFlags, Descriptions) {
  EXPECT_EQ(describe(greedy()), "greedy");
  EXPECT_EQ(describe(drawing()), "temperature 0.7, top_k 20");
  EXPECT_EQ(describe(beams()), "4 beams, length_penalty 0, early_stopping 1");
  EXPECT_EQ(describe(parse({"--typical_p", "0.9", "--no_repeat_ngram_size", "2", "--logit_bias",
                            "1:2", "--bad_words", "x"},
                           greedy())),
            "temperature 1, typical_p 0.9, no_repeat_ngram_size 2, logit_bias of 1 tokens, "
            "1 bad words");
}

TEST(SamplingFlags, AreRefusedByName) {
  for (const char* text : {"", "5", "5:", ":1", "5:x", "5:1x", "x:1", "5=1", "99999999999:1"})
    EXPECT_THAT(error_of({"--logit_bias", text}), HasSubstr("--logit_bias")) << text;
  EXPECT_THAT(error_of({"--logit_bias", "5:nan"}), HasSubstr("logit_bias"));
  EXPECT_THAT(error_of({"--logit_bias", "5:1", "5:2"}), HasSubstr("twice"));
  EXPECT_THAT(error_of({"--num_beams", "2", "--best_of", "2"}), HasSubstr("best_of"));
  for (const char* flag : {"--top_k", "--top_p", "--min_p", "--typical_p", "--top_p_decay"})
    EXPECT_THAT(error_of({"--num_beams", "2", flag, "1"}), HasSubstr(flag));
  EXPECT_THAT(error_of({"--num_beams", "2", "--stop_words", "end"}), HasSubstr("--stop_words"));
  EXPECT_THAT(error_of({"--num_beams", "2", "--num_return_sequences", "3"}),
              HasSubstr("--num_return_sequences: 3 is more than --num_beams 2"));
  EXPECT_THAT(error_of({"--best_of", "2", "--num_return_sequences", "3"}),
              HasSubstr("--best_of: 2 samples are fewer than the --num_return_sequences = 3"));
  EXPECT_THAT(error_of({"--num_beams", "99999999999"}), HasSubstr("--num_beams"));
  EXPECT_THAT(error_of({"--early_stopping", "2"}), HasSubstr("early_stopping"));
  EXPECT_THAT(error_of({"--typical_p", "0"}), HasSubstr("--typical_p: 0"));
  EXPECT_THAT(error_of({"--num_beams", "-1"}), HasSubstr("--num_beams: -1"));
  EXPECT_THAT(error_of({"--num_return_sequences", "-4"}), HasSubstr("--num_return_sequences: -4"));
  EXPECT_THAT(error_of({"--bad_words", ""}), HasSubstr("--bad_words: "));
}

TEST(SamplingFlags, MessagesOfOthersAreSaidInTheirWords) {
  EXPECT_EQ(in_flag_words("min_tokens: 9 is more than max_tokens 4"),
            "--min_length: 9 is more than --max_output_len 4");
  EXPECT_EQ(in_flag_words("n: 3 is more than beam_width 2"),
            "--num_return_sequences: 3 is more than --num_beams 2");
  for (const char* same :
       {"the queue is full", "input_ids: the prompt has no tokens",
        "cache: raise max_tokens_in_paged_kv_cache", "3 beams pass max_beam_width"})
    EXPECT_EQ(in_flag_words(same), same);
}

}  // namespace
}  // namespace tenon::cli
