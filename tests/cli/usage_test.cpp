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
       {"convert", "build", "run", "chat", "bench", "eval", "inspect", "plan", "doctor", "cache"}) {
    EXPECT_THAT(out_of({command, "--help"}), HasSubstr(std::string("tenon ") + command));
    EXPECT_THAT(out_of({"--help"}), HasSubstr(command));
    EXPECT_EQ(out_of({command, "--help"}).find("{false}"), std::string::npos);
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

/// What was printed into a full disk is lost, and the exit code says so.
TEST_F(Usage, OutputThatCannotBeWrittenIsAFault) {
  if (!fs::is_character_file("/dev/full")) GTEST_SKIP() << "there is no /dev/full";
  const std::string model = text_model();
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"--help"},
           {"run", "--help"},
           {"inspect", model},
           {"plan", model, "--no_cache"},
           {"run", model, "--no_cache", "--input_text", "a", "--max_output_len", "2"},
           {"run", model, "--no_cache", "--input_text", "a", "--max_output_len", "2",
            "--streaming"},
           {"run", model, "--no_cache", "--input_text", "a", "--max_output_len", "2", "--json"}}) {
    const Result result = run_into("/dev/full", words);
    EXPECT_EQ(result.code, 4) << words[0];
    EXPECT_THAT(result.err, HasSubstr("standard output: cannot write"));
  }
  const Result result =
      run_into("/dev/full", {"chat", model, "--no_cache", "--max_output_len", "2"}, "a\n");
  EXPECT_EQ(result.code, 4);
}

TEST_F(Usage, NumbersThatCannotBeNameTheirFlag) {
  const std::string model = text_model();
  for (const std::string flag :
       {"threads", "tp_size", "max_batch_size", "max_num_tokens", "max_seq_len",
        "max_tokens_in_paged_kv_cache", "kv_cache_bytes", "max_queue_size", "max_output_len"}) {
    const Result result = run({"run", model, "--no_cache", "--input_text", "a", "--" + flag, "-4"});
    EXPECT_EQ(result.code, 2) << flag;
    EXPECT_THAT(result.err, HasSubstr(flag));
  }
  for (const char* command : {"convert", "build"})
    for (const char* value : {"-4", "0"}) {
      const Result result =
          run({command, "--model_dir", model, "--output_dir", at("out"), "--workers", value});
      EXPECT_EQ(result.code, 2) << command;
      EXPECT_THAT(result.err, AllOf(HasSubstr("--workers"), HasSubstr(value)));
      EXPECT_FALSE(fs::exists(at("out")));
    }
}

/// What no run could take is refused at build, not at load.
TEST_F(Usage, BuildTakesTheBlockSizesOfARun) {
  const Result result = run({"build", "--model_dir", text_model(), "--output_dir", at("engine"),
                             "--tokens_per_block", "33"});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr("expected 16, 32, 64 or 128"));
  EXPECT_FALSE(fs::exists(at("engine")));
}

TEST_F(Usage, UnknownLogTopicsAreNamed) {
  environment_["TENON_LOG"] = "cach,load";
  const Result result = run({"--version"});
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(result.err, AllOf(HasSubstr("did you mean \"cache\"?"), HasSubstr("dispatch")));
}

TEST_F(Usage, OptionsOfLaterVersionsAreRefused) {
  for (const auto& words : std::vector<std::vector<std::string>>{
           {"build", "--model_dir", text_model(), "--lora_dir", "x"},
           {"build", "--model_dir", text_model(), "--remove_input_padding", "disable"},
           {"run", text_model(), "--input_text", "a", "--eagle_choices", "2"},
           {"convert", "--model_dir", text_model(), "--smoothquant"},
           {"convert", "--model_dir", text_model(), "-sq", "0.5"}}) {
    const Result result = run(words);
    EXPECT_EQ(result.code, 6) << ::testing::PrintToString(words);
    EXPECT_THAT(result.err, HasSubstr("not supported"));
  }
}

TEST_F(Usage, WeightsAreQuantizedByName) {
  const auto convert = [&](std::vector<std::string> flags) {
    std::vector<std::string> words = {"convert", "--model_dir", text_model(), "--output_dir",
                                      at("quantized")};
    words.insert(words.end(), flags.begin(), flags.end());
    return run(words);
  };
  const Result int4 =
      convert({"--use_weight_only", "--weight_only_precision", "int4", "--group_size", "16"});
  EXPECT_EQ(int4.code, 0) << int4.err;
  EXPECT_THAT(int4.out, HasSubstr("W4A16: 14 weights quantized from float32"));
  EXPECT_EQ(run({"build", "--checkpoint_dir", at("quantized"), "--output_dir", at("e")}).code, 0);
  const Result run_it = run({"run", at("e"), "--input_text", "a", "--max_output_len", "2"});
  EXPECT_EQ(run_it.code, 0) << run_it.err;
  EXPECT_THAT(run_it.err, HasSubstr("int4 group 16 scale float16 offset 8"));
  EXPECT_EQ(run({"inspect", at("e")}).code, 0);
  const std::vector<std::pair<std::vector<std::string>, std::string>> wrong = {
      {{"--use_weight_only", "--weight_only_precision", "int4_awq"}, "not supported yet"},
      {{"--use_weight_only", "--weight_only_precision", "int3"}, "int8, int4 or fp8"},
      {{"--use_weight_only", "--weight_only_precision", "int4"}, "sizes that divide"},
      {{"--use_weight_only", "--group_size", "16"}, "--weight_only_precision int4"},
      {{"--weight_only_precision", "int4"}, "--use_weight_only"},
      {{"--group_size", "16"}, "--use_weight_only"}};
  for (const auto& [flags, part] : wrong) {
    const Result result = convert(flags);
    EXPECT_NE(result.code, 0) << part;
    EXPECT_THAT(result.err, HasSubstr(part));
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
