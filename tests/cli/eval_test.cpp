// SPDX-License-Identifier: Apache-2.0
#include "program.h"

namespace tenon::test {
namespace {

using ::testing::HasSubstr;

class Eval : public CliTest {
 protected:
  Eval() { write("text.txt", "The sea was calm, and the old boat lay in the sand. Nobody spoke."); }

  std::vector<std::string> words(std::vector<std::string> more) const {
    std::vector<std::string> all = {"eval", engine_, "--threads", "1", "--no_pin"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  std::string engine_ = build_engine();
};

TEST_F(Eval, AModelAgreesWithItself) {
  const Json json = json_of(words({"--reference", data_file("gguf/llama_text.gguf"), "--no_cache",
                                   "--text_file", at("text.txt"), "--json", "--max_kl", "1e-6"}));
  EXPECT_LT(json.at("mean_kl", "").as_double(""), 1e-7);
  EXPECT_GT(json.at("mean_kl", "").as_double(""), -1e-7);  // a sum of both signs, rounded
  EXPECT_DOUBLE_EQ(json.at("top1_agreement", "").as_double(""), 1.0);
  EXPECT_GT(json.at("perplexity", "").as_double(""), 1.0);
  EXPECT_EQ(json.at("worst", "").as_array("").size(), 5U);
}

TEST_F(Eval, StoredLogProbabilitiesServeAsReferenceAndTheGateFails) {
  out_of(words({"--text_file", at("text.txt"), "--save_logprobs", at("reference.safetensors")}));
  EXPECT_THAT(
      out_of(words({"--reference_logprobs", at("reference.safetensors"), "--max_kl", "1e-6"})),
      HasSubstr("top-1 agreement      100.00 %"));
  // An int8 cache is another model, and the gate sees it.
  const Result result = run(words({"--reference_logprobs", at("reference.safetensors"),
                                   "--kv_cache_dtype", "int8", "--max_kl", "1e-12"}));
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, HasSubstr("is above --max_kl"));
}

TEST_F(Eval, SaysWhatIsMissing) {
  EXPECT_EQ(run(words({})).code, 2);
  EXPECT_EQ(run(words({"--text_file", at("none.txt")})).code, 3);
  EXPECT_EQ(run(words({"--text_file", at("text.txt"), "--window", "500"})).code, 2);
  EXPECT_EQ(run(words({"--reference", "a", "--reference_logprobs", "b"})).code, 2);
  EXPECT_EQ(run(words({"--text_file", at("text.txt"), "--reference_logprobs", "b"})).code, 2);
  const Result result = run(words({"--text_file", at("text.txt"), "--max_kl", "1e-6"}));
  EXPECT_EQ(result.code, 2) << "a limit on nothing would always hold";
  EXPECT_THAT(result.err, HasSubstr("--reference_logprobs"));
}

}  // namespace
}  // namespace tenon::test
