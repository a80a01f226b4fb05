// What the program says to those who use it wrongly, and its exit codes.
// SPDX-License-Identifier: Apache-2.0
#include "program.h"

namespace tenon::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class Usage : public CliTest {};

TEST_F(Usage, HelpOfEveryCommand) {
  for (const char* command :
       {"convert", "build", "run", "chat", "eval", "inspect", "doctor", "cache"}) {
    EXPECT_THAT(out_of({command, "--help"}), HasSubstr(std::string("tenon ") + command));
    EXPECT_THAT(out_of({"--help"}), HasSubstr(command));
  }
  EXPECT_THAT(out_of({"--version"}), HasSubstr("tenon 0."));
}

TEST_F(Usage, UnknownWordsNameTheNearest) {
  Result result = run({"inspct"});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr("did you mean \"inspect\"?"));
  result = run({"run", "--input_txt", "Hello"});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err,
              AllOf(HasSubstr("--input_txt"), HasSubstr("did you mean \"--input_text\"?")));
  EXPECT_EQ(run({}).code, 2);
}

TEST_F(Usage, WhatIsMissing) {
  EXPECT_EQ(run({"run", "--input_text", "a"}).code, 2);
  EXPECT_EQ(run({"run", text_model()}).code, 2);
  EXPECT_EQ(run({"run", text_model(), "--engine_dir", "x", "--input_text", "a"}).code, 2);
  EXPECT_EQ(run({"convert"}).code, 2);
  const Result result = run({"run", at("nowhere"), "--input_text", "a"});
  EXPECT_EQ(result.code, 3);
  EXPECT_THAT(result.err, HasSubstr("looked at"));
}

TEST_F(Usage, OptionsOfLaterVersionsAreRefused) {
  for (const auto& words : std::vector<std::vector<std::string>>{
           {"build", "--model_dir", text_model(), "--lora_dir", "x"},
           {"build", "--model_dir", text_model(), "--max_beam_width", "2", "--output_dir", at("e")},
           {"run", text_model(), "--input_text", "a", "--eagle_choices", "2"},
           {"convert", "--model_dir", text_model(), "--use_weight_only"}}) {
    const Result result = run(words);
    EXPECT_EQ(result.code, 6) << ::testing::PrintToString(words);
    EXPECT_THAT(result.err, HasSubstr("not supported"));
  }
}

TEST_F(Usage, RanksThatDoNotFitNameThoseThatDo) {
  const Result result =
      run({"convert", "--model_dir", text_model(), "--output_dir", at("c"), "--tp_size", "3"});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, AllOf(HasSubstr("tp_size 3"), HasSubstr("1, 2, 4")));
  EXPECT_FALSE(fs::exists(at("c")));
}

}  // namespace
}  // namespace tenon::test
