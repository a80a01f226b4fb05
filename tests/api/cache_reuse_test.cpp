// The paged cache on real (tiny) models: what was computed is found again, comes back from host
// memory and disk, is given back by windows, and is kept apart by salts; the outputs never change.
// SPDX-License-Identifier: Apache-2.0
#include <random>

#include "fixture.h"

namespace tenon::test {
namespace {

using Ids = std::vector<std::int32_t>;

SamplingParams greedy(int tokens) {
  SamplingParams params;
  params.temperature = 0;
  params.max_tokens = tokens;
  params.ignore_eos = true;
  return params;
}

LlmOptions small_cache(std::int64_t tokens) {
  LlmOptions options = tiny_options();
  options.max_batch_size = 4;
  options.executor.kv_cache.max_tokens = tokens;
  options.executor.kv_cache.tokens_per_block = 16;
  return options;
}

Ids random_ids(unsigned seed, std::size_t count, std::int32_t vocab = 60) {
  std::mt19937 random(seed);
  Ids ids(count);
  for (std::int32_t& id : ids)
    id = static_cast<std::int32_t>(random() % static_cast<unsigned>(vocab));
  return ids;
}

Ids answer(LLM& llm, const Ids& prompt, const RequestOptions& options = {}) {
  Prompt wanted;
  wanted.token_ids = prompt;
  return llm.generate(std::vector<Prompt>{wanted}, greedy(6), options)[0].outputs[0].token_ids;
}

class CacheReuse : public testing::TestWithParam<const char*> {
 protected:
  std::string path() const { return data_path(std::string("models/") + GetParam()).string(); }
};

TEST_P(CacheReuse, ASecondTimeIsFoundAndGivesTheSame) {
  LlmOptions without = small_cache(512);
  without.executor.kv_cache.enable_block_reuse = false;
  LLM plain(path(), without);
  LLM llm(path(), small_cache(512));
  const Ids prompt = random_ids(1, 90);
  const Ids expected = answer(plain, prompt);
  EXPECT_EQ(answer(llm, prompt), expected);
  EXPECT_EQ(llm.statistics().kv_cache.reused_tokens, 0U);
  EXPECT_EQ(answer(llm, prompt), expected);
  EXPECT_GE(llm.statistics().kv_cache.reused_tokens, 80U);
  Ids branch = prompt;
  branch[85] = 61;  // inside a block that begins alike
  EXPECT_EQ(answer(llm, branch), answer(plain, branch));
  EXPECT_EQ(plain.statistics().kv_cache.reused_tokens, 0U);
}

TEST_P(CacheReuse, SaltsKeepTenantsApart) {
  LLM llm(path(), small_cache(512));
  const Ids prompt = random_ids(2, 80);
  RequestOptions one;
  one.cache_salt = "one";
  RequestOptions other;
  other.cache_salt = "other";
  const Ids expected = answer(llm, prompt, one);
  EXPECT_EQ(answer(llm, prompt, other), expected);
  EXPECT_EQ(llm.statistics().kv_cache.reused_tokens, 0U);
  EXPECT_EQ(answer(llm, prompt, one), expected);
  EXPECT_GT(llm.statistics().kv_cache.reused_tokens, 0U);
}

TEST_P(CacheReuse, EvictedBlocksComeBackFromHostMemoryAndDisk) {
  std::vector<Ids> expected;
  LLM plain(path(), small_cache(512));
  for (unsigned i = 0; i < 8; ++i) expected.push_back(answer(plain, random_ids(10 + i, 80)));
  const auto directory = std::filesystem::temp_directory_path();
  for (const bool disk : {false, true}) {
    LlmOptions options = small_cache(160);          // one prompt and a half
    if (disk && options.device != "cpu") continue;  // a GPU swaps to the host's memory alone
    KvCacheConfig& cache = options.executor.kv_cache;
    cache.host_cache_bytes = disk ? 64 << 10 : 8 << 20;
    if (disk) cache.disk_cache_bytes = 16 << 20;
    if (disk) cache.disk_cache_directory = directory.string();
    LLM llm(path(), options);
    for (int round = 0; round < 2; ++round)
      for (unsigned i = 0; i < 8; ++i)
        EXPECT_EQ(answer(llm, random_ids(10 + i, 80)), expected[i]) << (disk ? "disk" : "host");
    const KvCacheStatistics statistics = llm.statistics().kv_cache;
    EXPECT_GT(statistics.swapped_out_blocks, 0U);
    EXPECT_GT(statistics.swapped_in_blocks, 0U);
    EXPECT_GT(statistics.reused_tokens, 8U * 40U) << "most of the second round was found";
  }
}

INSTANTIATE_TEST_SUITE_P(Models, CacheReuse,
                         testing::Values("llama_text", "mistral_window", "qwen2_layer_types"),
                         [](const auto& info) { return std::string(info.param); });

TEST(CacheWindow, GivesBackWhatItNoLongerReaches) {
  LlmOptions options = small_cache(512);
  options.max_num_tokens = 16;  // of a chunk
  LLM llm(data_path("models/mistral_window").string(), options);
  Prompt prompt;
  prompt.token_ids = random_ids(3, 100);
  Generation one = llm.generate_async(prompt, greedy(20));
  one.wait();
  std::int64_t most = 0;
  for (const IterationStatistics& it : llm.take_iteration_statistics())
    most = std::max(most, it.kv_cache.used_blocks);
  // A window of 8 and a chunk of 16 reach into three blocks of 16; the sequence has eight.
  EXPECT_LE(most, 3);
  EXPECT_GT(most, 0);
}

TEST(CacheEvents, TellRoutersWhatIsFindable) {
  LlmOptions options = small_cache(512);
  options.executor.kv_cache.event_buffer_size = 100;
  Executor executor(data_path("models/llama_text").string(), options);
  GenerationRequest request;
  request.input_token_ids = random_ids(4, 64);
  request.sampling = greedy(4);
  executor.await_responses(executor.enqueue_request(request));
  ASSERT_TRUE(executor.drain());
  const std::vector<KvCacheEvent> events = executor.take_cache_events();
  ASSERT_GE(events.size(), 4U);
  EXPECT_EQ(events[0].kind, KvCacheEvent::Kind::kStored);
  EXPECT_EQ(events[0].parent_hash, 0U);
  EXPECT_EQ(events[1].parent_hash, events[0].block_hash);
  EXPECT_EQ(events[0].tokens,
            Ids(request.input_token_ids.begin(), request.input_token_ids.begin() + 16));
}

}  // namespace
}  // namespace tenon::test
