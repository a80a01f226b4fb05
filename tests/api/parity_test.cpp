// Every tiny model against Hugging Face transformers: logits in one pass and token by token, and
// greedy continuations.
// SPDX-License-Identifier: Apache-2.0
#include "fixture.h"

namespace tenon::test {
namespace {

struct Case {
  std::string model;     // below tests/data
  std::string expected;  // file below tests/data
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const auto& entry : std::filesystem::directory_iterator(data_path("models")))
    if (entry.is_directory()) {
      const std::string name = entry.path().filename().string();
      all.push_back({"models/" + name, "models/" + name + ".expected.safetensors"});
    }
  for (const char* name : {"llama_text", "llama_bias", "llama_head_dim", "llama3_rope",
                           "llama_linear_rope", "llama_yarn", "qwen2_bias", "qwen2_untied"})
    all.push_back({std::string("gguf/") + name + ".gguf",
                   std::string("models/") + name + ".expected.safetensors"});
  all.push_back({"gguf/llama_v2.gguf", "models/llama_text.expected.safetensors"});
  all.push_back({"gguf/llama_split-00001-of-00003.gguf", "models/llama_text.expected.safetensors"});
  all.push_back({"gguf/llama_mixed.gguf", "gguf/llama_mixed.expected.safetensors"});
  std::sort(all.begin(), all.end(), [](const Case& a, const Case& b) { return a.model < b.model; });
  return all;
}

void PrintTo(const Case& value, std::ostream* out) { *out << value.model; }

std::string case_name(const ::testing::TestParamInfo<Case>& info) {
  std::string name = info.param.model;
  for (char& c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  return name;
}

class Parity : public ::testing::TestWithParam<Case> {
 protected:
  Expected expected_ = read_expected(data_path(GetParam().expected));
  std::string model_ = data_path(GetParam().model).string();
};

constexpr float kTolerance = 1e-4F;

TEST_P(Parity, PrefillGivesTheLogitsOfTransformers) {
  LLM llm(model_, tiny_options());
  const TokenLogits logits = llm.logits(expected_.ids);
  ASSERT_EQ(logits.vocab_size, expected_.vocab);
  EXPECT_LE(largest_difference(logits.values, expected_.logits), kTolerance);
}

TEST_P(Parity, TokenByTokenGivesTheLogitsOfTransformers) {
  LlmOptions options = tiny_options();
  options.max_batch_size = 1;
  options.max_num_tokens = 1;
  LLM llm(model_, options);
  EXPECT_LE(largest_difference(llm.logits(expected_.ids).values, expected_.logits), kTolerance);
}

TEST_P(Parity, GreedyContinuesAsTransformersDoes) {
  if (expected_.greedy.empty()) GTEST_SKIP() << "no greedy continuation is recorded for this model";
  LLM llm(model_, tiny_options());
  SamplingParams greedy;
  greedy.temperature = 0;
  greedy.ignore_eos = true;
  greedy.max_tokens = static_cast<std::int32_t>(expected_.greedy.size());
  EXPECT_EQ(llm.generate_ids({expected_.ids}, greedy)[0].outputs[0].token_ids, expected_.greedy);
}

INSTANTIATE_TEST_SUITE_P(Models, Parity, ::testing::ValuesIn(cases()), case_name);

}  // namespace
}  // namespace tenon::test
