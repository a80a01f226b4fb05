// Requests in flight together: whatever the mix, the chunks, what the cache had, who was paused and
// after a restart, each has the tokens it has alone; in deterministic mode its logits have the same
// bits too.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <random>

#include "fixture.h"
#include "tenon/llm.h"

namespace tenon::test {
namespace {

constexpr int kTokens = 24;
using Ids = std::vector<std::int32_t>;

/// Some share their beginnings; lengths do not fit blocks or chunks.
const std::vector<Ids>& prompts() {
  static const std::vector<Ids> all = [] {
    std::mt19937 random(5);
    std::vector<Ids> out;
    Ids shared;
    for (int i = 0; i < 48; ++i) shared.push_back(static_cast<std::int32_t>(3 + random() % 80));
    for (const std::size_t own : {1U, 7U, 33U, 60U, 5U, 18U}) {
      Ids ids(shared.begin(), shared.begin() + static_cast<std::ptrdiff_t>(own % 2 == 0 ? 41 : 0));
      for (std::size_t i = 0; i < own; ++i)
        ids.push_back(static_cast<std::int32_t>(3 + random() % 80));
      out.push_back(std::move(ids));
    }
    return out;
  }();
  return all;
}

SamplingParams sampling() {
  SamplingParams params;
  params.temperature = 0;
  params.max_tokens = kTokens;
  params.ignore_eos = true;
  params.return_generation_logits = true;
  return params;
}

LlmOptions base(bool deterministic) {
  LlmOptions options = tiny_options();
  options.threads = 1;
  options.gather_context_logits = false;
  options.deterministic = deterministic;
  options.max_batch_size = 6;
  options.executor.kv_cache.tokens_per_block = 16;
  return options;
}

std::vector<RequestOutput> each_alone(const LlmOptions& options) {
  LLM llm(data_path("models/llama_text").string(), options);
  std::vector<RequestOutput> out;
  for (const Ids& prompt : prompts()) {
    auto one = llm.generate_ids({prompt}, sampling());
    out.push_back(std::move(one.front()));
  }
  return out;
}

void expect_same(const std::vector<RequestOutput>& got, const std::vector<RequestOutput>& wanted,
                 bool bits, const std::string& mix) {
  SCOPED_TRACE(mix);
  ASSERT_EQ(got.size(), wanted.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    const CompletionOutput& mine = got[i].outputs.at(0);
    const CompletionOutput& other = wanted[i].outputs.at(0);
    EXPECT_EQ(mine.token_ids, other.token_ids) << "prompt " << i;
    ASSERT_EQ(mine.generation_logits.values.size(), other.generation_logits.values.size());
    ASSERT_EQ(mine.generation_logits.values.size(),
              static_cast<std::size_t>(kTokens * mine.generation_logits.vocab_size));
    if (bits) {
      EXPECT_EQ(mine.generation_logits.values, other.generation_logits.values) << "prompt " << i;
    }
  }
}

class InFlight : public testing::TestWithParam<bool> {};

TEST_P(InFlight, EachHasWhatItHasAlone) {
  LlmOptions plain = base(GetParam());
  plain.executor.kv_cache.enable_block_reuse = false;
  const auto wanted = each_alone(plain);
  int mixes = 0;
  for (const std::int64_t step_tokens : {8, 17, 64, 256})
    for (const int reuse : {0, 1, 2}) {  // none, whole blocks, parts of blocks too
      for (const ContextChunking chunking :
           {ContextChunking::kFirstComeFirstServed, ContextChunking::kEqualProgress}) {
        LlmOptions options = base(GetParam());
        options.max_num_tokens = step_tokens;
        options.executor.context_chunking = chunking;
        options.executor.kv_cache.enable_block_reuse = reuse > 0;
        options.executor.kv_cache.enable_partial_reuse = reuse > 1;
        LLM llm(data_path("models/llama_text").string(), options);
        const std::string mix =
            std::to_string(step_tokens) + " tokens a step, reuse " + std::to_string(reuse);
        expect_same(llm.generate_ids(prompts(), sampling()), wanted, GetParam(), mix);
        // Again: now the cache knows every prompt.
        expect_same(llm.generate_ids(prompts(), sampling()), wanted, GetParam(), mix + ", again");
        ASSERT_TRUE(llm.drain(60.0));  // statistics are published after the last token
        const auto cache = llm.statistics().kv_cache;
        EXPECT_EQ(cache.reused_tokens > 0, reuse > 0);
        EXPECT_EQ(cache.used_blocks, 0);
        ++mixes;
      }
    }
  EXPECT_EQ(mixes, 24);
}

TEST_P(InFlight, PausedRequestsComeBackWithTheSame) {
  LlmOptions plain = base(GetParam());
  plain.executor.kv_cache.enable_block_reuse = false;
  const auto wanted = each_alone(plain);
  for (const bool reuse : {false, true}) {
    LlmOptions options = base(GetParam());
    options.max_num_tokens = 48;
    options.executor.scheduler_policy = SchedulerPolicy::kMaxUtilization;
    options.executor.kv_cache.enable_block_reuse = reuse;
    options.executor.kv_cache.max_tokens = 16 * 12;
    options.max_seq_len = 16 * 8;
    LLM llm(data_path("models/llama_text").string(), options);
    for (int round = 0; round < 3; ++round)
      expect_same(llm.generate_ids(prompts(), sampling()), wanted, GetParam(),
                  reuse ? "paused, with reuse" : "paused");
    ASSERT_TRUE(llm.drain(60.0));
    EXPECT_GT(llm.statistics().paused_sequences, 0U) << "nobody was paused";
    EXPECT_EQ(llm.statistics().kv_cache.used_blocks, 0);
  }
}

TEST_P(InFlight, CancelledNeighboursChangeNothing) {
  LlmOptions options = base(GetParam());
  options.max_num_tokens = 32;
  const auto wanted = each_alone(options);
  LLM llm(data_path("models/llama_text").string(), options);
  for (int round = 0; round < 6; ++round) {
    std::vector<Generation> neighbours;
    for (int i = 0; i < 3; ++i) {
      Prompt prompt;
      prompt.token_ids = prompts()[static_cast<std::size_t>((round + i) % 6)];
      SamplingParams params = sampling();
      params.temperature = 1;
      params.seed = static_cast<std::uint64_t>(round);
      neighbours.push_back(llm.generate_async(prompt, params));
    }
    for (int i = 0; i < round; ++i) neighbours[0].next();
    neighbours[1].cancel();
    neighbours.erase(neighbours.begin());
    expect_same(llm.generate_ids(prompts(), sampling()), wanted, GetParam(), "cancelled");
  }
}

INSTANTIATE_TEST_SUITE_P(Modes, InFlight, testing::Bool(),
                         [](const auto& of) { return of.param ? "Deterministic" : "Greedy"; });

/// Everything that may change how a sequence is computed, at the same time: small chunks of prompts
/// that share beginnings, requests that are paused, blocks that go to the host's memory and come
/// back, neighbours that draw, search and vanish, and a program that begins anew.
class AllAtOnce : public testing::TestWithParam<const char*> {};

TEST_P(AllAtOnce, TheBitsAreThoseOfEachAlone) {
  const std::string model = data_path(std::string("models/") + GetParam()).string();
  LlmOptions plain = base(true);
  plain.executor.kv_cache.enable_block_reuse = false;
  std::vector<RequestOutput> wanted;
  {
    LLM alone(model, plain);
    for (const Ids& prompt : prompts())
      wanted.push_back(std::move(alone.generate_ids({prompt}, sampling()).front()));
  }
  std::mt19937 random(11);
  LlmStatistics sum;
  for (const std::int64_t step_tokens : {11, 40}) {
    LlmOptions options = base(true);
    options.max_num_tokens = step_tokens;
    options.max_seq_len = 16 * 8;
    options.executor.scheduler_policy = SchedulerPolicy::kMaxUtilization;
    options.executor.context_chunking = ContextChunking::kEqualProgress;
    options.executor.kv_cache.max_tokens = 16 * 10;  // the longest request takes 8 blocks
    options.executor.kv_cache.host_cache_bytes = 8 << 20;
    LLM llm(model, options);
    for (int round = 0; round < 4; ++round) {
      std::vector<Generation> neighbours;
      for (const int kind : {0, 1, 2}) {
        Prompt prompt;
        prompt.token_ids = prompts()[random() % prompts().size()];
        SamplingParams params;
        params.max_tokens = 10;
        params.seed = random();
        params.n = kind == 1 ? 2 : 1;
        params.beam_width = kind == 2 ? 2 : 1;
        neighbours.push_back(llm.generate_async(prompt, params));
      }
      neighbours.erase(neighbours.begin() + static_cast<std::ptrdiff_t>(random() % 3));
      expect_same(llm.generate_ids(prompts(), sampling()), wanted, true,
                  std::to_string(step_tokens) + " tokens a step, round " + std::to_string(round));
      for (Generation& neighbour : neighbours) neighbour.wait();
    }
    ASSERT_TRUE(llm.drain(60.0));
    const LlmStatistics one = llm.statistics();
    EXPECT_EQ(one.kv_cache.used_blocks, 0);
    sum.paused_sequences += one.paused_sequences;
    sum.kv_cache.reused_tokens += one.kv_cache.reused_tokens;
    sum.kv_cache.copied_blocks += one.kv_cache.copied_blocks;
    sum.kv_cache.swapped_in_blocks += one.kv_cache.swapped_in_blocks;
  }
  EXPECT_GT(sum.paused_sequences, 0U);
  EXPECT_GT(sum.kv_cache.reused_tokens, 0U);
  EXPECT_GT(sum.kv_cache.copied_blocks, 0U);
  EXPECT_GT(sum.kv_cache.swapped_in_blocks, 0U);
}

INSTANTIATE_TEST_SUITE_P(Models, AllAtOnce,
                         testing::Values("llama_text", "mistral_window", "qwen2_layer_types"),
                         [](const auto& of) { return std::string(of.param); });

/// Sampled tokens depend on the seed and the position alone.
TEST(InFlightSampling, SeedsGiveTheSameInAnyCompany) {
  LlmOptions options = base(true);
  options.max_num_tokens = 32;
  LLM llm(data_path("models/llama_text").string(), options);
  SamplingParams params = sampling();
  params.temperature = 0.9F;
  params.seed = 17;
  std::vector<RequestOutput> alone;
  for (const Ids& prompt : prompts()) {
    auto one = llm.generate_ids({prompt}, params);
    alone.push_back(std::move(one.front()));
  }
  expect_same(llm.generate_ids(prompts(), params), alone, true, "sampled");
}

}  // namespace
}  // namespace tenon::test
