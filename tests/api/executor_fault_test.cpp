// Clients that fail, vanish or block, and callers whose memory runs out: nobody waits for ever, and
// nothing that was refused runs.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "../runtime/failing_new.h"
#include "fixture.h"
#include "tenon/executor.h"
#include "tenon/llm.h"

namespace tenon::test {
namespace {

LlmOptions options() {
  LlmOptions wanted = tiny_options();
  wanted.threads = 1;
  wanted.max_batch_size = 8;
  return wanted;
}
std::string model() { return data_path("models/llama_text").string(); }

SamplingParams greedy(int tokens) {
  SamplingParams params;
  params.temperature = 0;
  params.max_tokens = tokens;
  params.ignore_eos = true;
  return params;
}
GenerationRequest request(int tokens) {
  GenerationRequest request;
  request.input_token_ids = {1, 2, 3};
  request.sampling = greedy(tokens);
  return request;
}

TEST(ExecutorFault, AnyAllocationOfTheCallMayFail) {
  Executor executor(model(), options());
  std::uint64_t refused = 0;
  for (std::int64_t n = 0;; ++n) {
    ASSERT_LT(n, 1000);
    std::atomic<int> heard{0};
    GenerationRequest one = request(3);
    ResponseCallback callback;
    if (n % 2 == 0) callback = [&heard](const Response& response) { heard += response.is_final; };
    RequestId id = 0;
    bool failed = true;
    bool thrown = false;
    try {
      const FailingNew fault(n);
      id = executor.enqueue_request(std::move(one), std::move(callback));
      failed = fault.failed();
    } catch (const std::bad_alloc&) {
      thrown = true;
    }
    if (thrown) {
      ++refused;
      continue;
    }
    if (n % 2 == 0) {
      while (heard == 0) std::this_thread::yield();
    } else {
      EXPECT_EQ(executor.await_responses(id).at(0).token_ids.size(), 3U);
    }
    if (!failed) break;
  }
  EXPECT_GT(refused, 5U);
  EXPECT_TRUE(executor.drain(std::chrono::seconds(60)));
  EXPECT_EQ(executor.responses_ready(), 0U) << "a refused request answered";
  EXPECT_EQ(executor.statistics().kv_cache.used_blocks, 0);
}

TEST(ExecutorFault, AnyAllocationOfAnAsyncCallMayFail) {
  LLM llm(model(), options());
  Prompt prompt;
  prompt.text = "a river";
  int refused = 0;
  for (std::int64_t n = 0;; n += 1 + n / 64) {
    ASSERT_LT(n, 100'000);
    try {
      bool failed = false;
      std::optional<Generation> generation;
      {
        const FailingNew fault(n);
        generation.emplace(llm.generate_async(prompt, greedy(3)));
        failed = fault.failed();
      }
      EXPECT_EQ(generation->wait().outputs.at(0).token_ids.size(), 3U);
      if (!failed) break;
    } catch (const std::bad_alloc&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 5);
  EXPECT_TRUE(llm.drain(60.0));
  EXPECT_EQ(llm.statistics().kv_cache.used_blocks, 0);
}

/// From where a hook of the request's runs to its end and far beyond.
TEST(ExecutorFault, AnyAllocationOfTheLoopsThreadMayFailAndTheClientHearsOfTheEnd) {
  Executor executor(model(), options());
  std::optional<FailingNew> fault;  // made and ended on the loop's thread
  int harmed = 0;
  for (std::int64_t n = 0; n < 120; ++n) {
    GenerationRequest one = request(2);
    one.streaming = n % 3 == 0;
    one.options.logits_processor = [&fault, n](const LogitsView& view) {
      if (view.tokens.size() == 4) fault.emplace(n);
    };
    std::atomic<int> heard{0};
    ResponseCallback callback;
    if (n % 2 == 0) callback = [&heard](const Response& response) { heard += response.is_final; };
    const RequestId id = executor.enqueue_request(std::move(one), std::move(callback));
    if (n % 2 == 0) {
      while (heard == 0) std::this_thread::yield();
      continue;
    }
    for (bool final = false; !final;) {
      const auto responses = executor.await_responses(id, std::chrono::seconds(60));
      ASSERT_FALSE(responses.empty()) << "nobody said that it ended; allocation " << n;
      for (const Response& response : responses) {
        final = response.is_final;
        harmed += response.error.has_value();
      }
    }
  }
  EXPECT_GT(harmed, 3);
  GenerationRequest last = request(2);
  last.options.logits_processor = [&fault](const LogitsView&) { fault.reset(); };
  const auto end = executor.await_responses(executor.enqueue_request(std::move(last)));
  EXPECT_EQ(end.at(0).token_ids.size(), 2U);
  EXPECT_EQ(executor.health().state, ExecutorHealth::State::kReady);
  EXPECT_TRUE(executor.drain(std::chrono::seconds(60)));
  EXPECT_EQ(executor.statistics().kv_cache.used_blocks, 0);
}

TEST(ExecutorFault, AClientMayVanishAtEveryStage) {
  LLM llm(model(), options());
  Prompt prompt;
  prompt.text = "a river";
  const std::string whole = llm.generate({"a river"}, greedy(30))[0].outputs[0].text;
  for (int stage = 0; stage < 40; ++stage) {
    auto gone = std::make_unique<Generation>(llm.generate_async(prompt, greedy(30)));
    Generation stays = llm.generate_async(prompt, greedy(30));
    for (int piece = 0; piece < stage; ++piece)
      if (!gone->next()) break;
    gone.reset();
    EXPECT_EQ(stays.wait().outputs[0].text, whole);
  }
  EXPECT_TRUE(llm.drain(60.0));
  const LlmStatistics statistics = llm.statistics();
  EXPECT_EQ(statistics.kv_cache.used_blocks, 0);
  EXPECT_EQ(statistics.active_requests + statistics.queued_requests, 0);
  EXPECT_GT(statistics.cancelled_requests, 10U);
}

TEST(ExecutorFault, ManyClientsVanishAtOnce) {
  LLM llm(model(), options());
  std::vector<std::thread> threads;
  for (int t = 0; t < 64; ++t)
    threads.emplace_back([&llm, t] {
      Prompt prompt;
      prompt.token_ids = {1 + t % 5, 2, 3};
      for (int i = 0; i < 4; ++i) {
        Generation generation = llm.generate_async(prompt, greedy(8));
        if ((t + i) % 3 == 0) continue;
        if ((t + i) % 3 == 1) generation.next();
        if ((t + i) % 7 == 0) generation.cancel();
        generation.wait();
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(llm.drain(60.0));
  EXPECT_EQ(llm.statistics().kv_cache.used_blocks, 0);
  EXPECT_EQ(llm.statistics().finished_requests, 256U);
}

TEST(ExecutorFault, CallbacksThatThrowAnythingEndTheirRequestsAlone) {
  Executor executor(model(), options());
  const auto alone = executor.await_responses(executor.enqueue_request(request(20))).at(0);
  std::atomic<int> calls{0};
  for (int i = 0; i < 12; ++i) {
    GenerationRequest rude = request(60);
    rude.streaming = i % 2 == 0;
    executor.enqueue_request(std::move(rude), [&calls, i](const Response&) {
      ++calls;
      if (i % 3 == 0) throw std::runtime_error("no");
      throw i;
    });
  }
  const auto beside = executor.await_responses(executor.enqueue_request(request(20))).at(0);
  EXPECT_EQ(beside.token_ids, alone.token_ids);
  EXPECT_TRUE(executor.drain(std::chrono::seconds(60)));
  executor.shutdown();
  EXPECT_EQ(calls, 12) << "none is called again once it has thrown";
  EXPECT_EQ(executor.statistics().kv_cache.used_blocks, 0);
}

}  // namespace
}  // namespace tenon::test
