// Whole models on a GPU at the precision it chooses by itself (bfloat16 inputs of linears, bfloat16
// cache), against what transformers gave in float32: how far the distributions are apart.
// SPDX-License-Identifier: Apache-2.0
#include "../api/fixture.h"
#include "engine/backend_factory.h"

namespace tenon::test {
namespace {

// Mean over positions of KL(expected || got), in nats.
double mean_divergence(const Expected& expected, const std::vector<float>& got) {
  const auto vocab = static_cast<std::size_t>(expected.vocab);
  const std::size_t positions = expected.logits.size() / vocab;
  const auto log_total = [vocab](const float* row) {
    const double largest = *std::max_element(row, row + vocab);
    double sum = 0.0;
    for (std::size_t i = 0; i < vocab; ++i) sum += std::exp(static_cast<double>(row[i]) - largest);
    return largest + std::log(sum);
  };
  double total = 0.0;
  for (std::size_t p = 0; p < positions; ++p) {
    const float* a = expected.logits.data() + p * vocab;
    const float* b = got.data() + p * vocab;
    const double la = log_total(a);
    const double lb = log_total(b);
    for (std::size_t i = 0; i < vocab; ++i)
      total += std::exp(static_cast<double>(a[i]) - la) *
               ((static_cast<double>(a[i]) - la) - (static_cast<double>(b[i]) - lb));
  }
  return total / static_cast<double>(positions);
}

TEST(CudaModel, SixteenBitsStayNearTransformers) {
  if (const UsableGpus gpus = usable_gpus(); gpus.names.empty())
    GTEST_SKIP() << "NOT TESTED, no GPU: " << gpus.why;
  for (const char* model : {"llama_bf16", "llama_fp16", "llama_text", "llama_gqa", "llama_gelu",
                            "qwen2_bias", "mistral_window", "llama_dynamic_rope_long"}) {
    LlmOptions options = tiny_options();
    options.device = "cuda";
    options.activation_dtype = "auto";
    options.kv_cache_dtype = "auto";
    const Expected expected =
        read_expected(data_path(std::string("models/") + model + ".expected.safetensors"));
    LLM llm(data_path(std::string("models/") + model).string(), options);
    const TokenLogits logits = llm.logits(expected.ids);
    ASSERT_EQ(logits.values.size(), expected.logits.size());
    const double divergence = mean_divergence(expected, logits.values);
    std::printf("%s: mean KL %.2e nats\n", model, divergence);
    EXPECT_LE(divergence, 1e-3) << model;
  }
}

}  // namespace
}  // namespace tenon::test
