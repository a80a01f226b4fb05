// generation_config.json: which keys become sampling defaults, and what is refused.
// SPDX-License-Identifier: Apache-2.0
#include "api/generation_config.h"

#include <gmock/gmock.h>
#include <stdlib.h>

#include <fstream>

#include "tenon/error.h"

namespace tenon {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class GenerationConfigFile : public testing::Test {
 protected:
  GenerationConfigFile() {
    std::string name = (fs::temp_directory_path() / "tenon-generation-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~GenerationConfigFile() override { fs::remove_all(path_); }

  GenerationConfig read(const std::string& text) const {
    std::ofstream(path_ / "generation_config.json") << text;
    return read_generation_config(path_ / "generation_config.json", 100);
  }
  std::string error_of(const std::string& text) const {
    try {
      read(text);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
      EXPECT_THAT(error.what(), HasSubstr("generation_config.json"));
      return error.what();
    }
    return "no error";
  }

  fs::path path_;
};

TEST_F(GenerationConfigFile, SaysNothing) {
  const GenerationConfig config = read("{}");
  EXPECT_EQ(config.sampling, default_generation().sampling);
  EXPECT_EQ(config.sampling.temperature, 0.F);
  EXPECT_EQ(config.sampling.length_penalty, 1.F);
  EXPECT_EQ(config.sampling.early_stopping, 0);
  EXPECT_THAT(config.end_ids, IsEmpty());
  EXPECT_EQ(read(R"({"do_sample": null, "num_beams": null, "bad_words_ids": null,
                     "early_stopping": null, "eos_token_id": null})")
                .sampling,
            default_generation().sampling);
}

TEST_F(GenerationConfigFile, WhatIsDrawnCountsWithDoSampleAlone) {
  const std::string keys =
      R"("temperature": 0.7, "top_k": 20, "top_p": 0.8, "min_p": 0.1, "typical_p": 0.9)";
  EXPECT_EQ(read("{" + keys + "}").sampling, default_generation().sampling);
  const SamplingParams drawn = read(R"({"do_sample": true, )" + keys + "}").sampling;
  EXPECT_EQ(drawn.temperature, 0.7F);
  EXPECT_EQ(drawn.top_k, 20);
  EXPECT_EQ(drawn.top_p, 0.8F);
  EXPECT_EQ(drawn.min_p, 0.1F);
  EXPECT_EQ(drawn.typical_p, 0.9F);
  const SamplingParams bare =
      read(R"({"do_sample": true, "num_beams": 4, "num_return_sequences": 3})").sampling;
  EXPECT_EQ(bare.temperature, 1.F);
  EXPECT_EQ(bare.top_k, 50);
  EXPECT_EQ(bare.beam_width, 1);
  EXPECT_EQ(bare.n, 3);
}

TEST_F(GenerationConfigFile, Beams) {
  const SamplingParams beams =
      read(R"({"num_beams": 4, "num_return_sequences": 2, "length_penalty": 2.0,
               "early_stopping": true})")
          .sampling;
  EXPECT_EQ(beams.beam_width, 4);
  EXPECT_EQ(beams.n, 2);
  EXPECT_EQ(beams.length_penalty, 2.F);
  EXPECT_EQ(beams.early_stopping, 1);
  EXPECT_EQ(read(R"({"early_stopping": "never"})").sampling.early_stopping, -1);
  EXPECT_EQ(read(R"({"early_stopping": false})").sampling.early_stopping, 0);
  EXPECT_EQ(read(R"({"num_return_sequences": 2})").sampling.n, 1);  // of a greedy model: all equal
}

TEST_F(GenerationConfigFile, WhatIsNotDrawnCountsEitherWay) {
  const GenerationConfig config =
      read(R"({"repetition_penalty": 1.1, "no_repeat_ngram_size": 3, "min_new_tokens": 5,
               "eos_token_id": [7, 8, 1000],
               "bad_words_ids": [[1], [7], [7, 8], [2, 3], [4, 100], [-1, 5]]})");
  EXPECT_EQ(config.sampling.repetition_penalty, 1.1F);
  EXPECT_EQ(config.sampling.no_repeat_ngram_size, 3);
  EXPECT_EQ(config.sampling.min_tokens, 5);
  EXPECT_THAT(config.end_ids, ElementsAre(7, 8));
  EXPECT_THAT(config.sampling.bad_words,
              ElementsAre(ElementsAre(1), ElementsAre(7, 8), ElementsAre(2, 3)));
  EXPECT_THAT(read(R"({"eos_token_id": 3})").end_ids, ElementsAre(3));
}

TEST_F(GenerationConfigFile, IsRefusedByKey) {
  EXPECT_THAT(error_of(R"({"do_sample": true, "typical_p": 0})"), HasSubstr("typical_p"));
  EXPECT_THAT(error_of(R"({"num_beams": 1000})"), HasSubstr("beam_width"));
  EXPECT_THAT(error_of(R"({"num_beams": 2, "num_return_sequences": 3})"), HasSubstr("beam_width"));
  EXPECT_THAT(error_of(R"({"num_beams": "many"})"), HasSubstr("num_beams"));
  EXPECT_THAT(error_of(R"({"no_repeat_ngram_size": -1})"), HasSubstr("no_repeat_ngram_size"));
  EXPECT_THAT(error_of(R"({"min_new_tokens": 1e12})"), HasSubstr("min_new_tokens"));
  EXPECT_THAT(error_of(R"({"early_stopping": "sometimes"})"), HasSubstr("\"sometimes\""));
  EXPECT_THAT(error_of(R"({"bad_words_ids": [[1], []]})"), HasSubstr("bad_words"));
  EXPECT_THAT(error_of(R"({"bad_words_ids": [1]})"), HasSubstr("bad_words_ids"));
  EXPECT_THAT(error_of(R"({"repetition_penalty": 1e30})"), HasSubstr("repetition_penalty"));
  EXPECT_THAT(error_of("[]"), HasSubstr("object"));
}

}  // namespace
}  // namespace tenon
