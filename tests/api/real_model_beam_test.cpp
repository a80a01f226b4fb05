// Beam search of the real model against Hugging Face transformers on the same file: twenty prompts.
// Needs the file: $TENON_REAL_MODEL, else where ./demo and ./check keep it.
// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>

#include "api/engine_cache.h"
#include "beam_cases.h"

namespace tenon::test {
namespace {

TEST(RealModel, BeamsOfTwentyPrompts) {
  const char* given = std::getenv("TENON_REAL_MODEL");
  const std::filesystem::path file =
      given != nullptr ? std::filesystem::path(given)
                       : cache_folder() / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!std::filesystem::exists(file))
    GTEST_SKIP() << "THE REAL MODEL IS MISSING (" << file << "): run ./check or ./demo, or set "
                 << "TENON_REAL_MODEL";
  LlmOptions options;
  const char* device = std::getenv("TENON_TEST_DEVICE");
  options.device = device == nullptr ? "cpu" : device;
  options.activation_dtype = "float32";
  options.kv_cache_dtype = "float32";
  options.use_cache_folder = false;
  options.max_batch_size = 16;
  options.max_num_tokens = 128;
  options.max_seq_len = 1024;
  options.pin_threads = false;
  LLM llm(file, options);
  const std::vector<BeamCase> cases = read_beam_cases("real_model.json");
  ASSERT_EQ(cases.size(), 40U);
  for (std::size_t setting = 0; setting < 2; ++setting) {  // cases alternate between two settings
    std::vector<std::vector<std::int32_t>> prompts;
    for (std::size_t i = setting; i < cases.size(); i += 2) {
      ASSERT_EQ(cases[i].sampling, cases[setting].sampling);
      prompts.push_back(cases[i].prompt);
    }
    const auto outputs = llm.generate_ids(prompts, cases[setting].sampling);
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      SCOPED_TRACE("setting " + std::to_string(setting) + ", prompt " + std::to_string(i));
      expect_beams(cases[2 * i + setting], outputs[i], 1e-4);
    }
  }
}

}  // namespace
}  // namespace tenon::test
