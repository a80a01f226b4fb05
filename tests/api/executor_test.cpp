// The public executor: responses awaited, streamed to callbacks, from many threads; wrong requests
// refused at the door; what LLM gives on top of it.
// SPDX-License-Identifier: Apache-2.0
#include "tenon/executor.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <thread>

#include "fixture.h"
#include "tenon/llm.h"
#include "tenon/model.h"

namespace tenon::test {
namespace {

LlmOptions options() {
  LlmOptions wanted = tiny_options();
  wanted.max_batch_size = 8;
  wanted.executor.max_queue_size = 64;
  return wanted;
}

class ExecutorTest : public testing::Test {
 protected:
  void TearDown() override { release_ = true; }

  static GenerationRequest greedy(std::vector<std::int32_t> ids, int tokens) {
    GenerationRequest request;
    request.input_token_ids = std::move(ids);
    request.sampling.temperature = 0;
    request.sampling.max_tokens = tokens;
    request.sampling.ignore_eos = true;
    return request;
  }
  std::vector<std::int32_t> alone(const std::vector<std::int32_t>& ids, int tokens) {
    const RequestId id = executor_.enqueue_request(greedy(ids, tokens));
    const auto responses = executor_.await_responses(id);
    return responses.at(0).token_ids;
  }

  /// An answer is there a moment before the statistics that count it.
  void wait_for_statistics(std::uint64_t requests) {
    while (executor_.statistics().finished_requests < requests) std::this_thread::yield();
  }

  std::atomic<bool> release_{false};  // callbacks that block wait for it
  std::string path_ = data_path("models/llama_text").string();
  Executor executor_{path_, options()};
};

TEST_F(ExecutorTest, AwaitGivesTheWholeAnswerOnce) {
  const RequestId id = executor_.enqueue_request(greedy({1, 2, 3}, 10));
  const auto responses = executor_.await_responses(id);
  ASSERT_EQ(responses.size(), 1U);
  EXPECT_EQ(responses[0].request_id, id);
  EXPECT_EQ(responses[0].token_ids.size(), 10U);
  EXPECT_EQ(responses[0].finish_reason, FinishReason::kLength);
  EXPECT_TRUE(responses[0].is_final);
  EXPECT_GT(responses[0].timing.first_token_seconds, 0);
  EXPECT_THROW(executor_.await_responses(id), Error) << "it was answered to its end";
}

TEST_F(ExecutorTest, StreamedResponsesAddUpToTheAnswer) {
  const auto whole = alone({1, 2, 3}, 20);
  GenerationRequest request = greedy({1, 2, 3}, 20);
  request.streaming = true;
  const RequestId id = executor_.enqueue_request(std::move(request));
  std::vector<std::int32_t> tokens;
  int responses = 0;
  for (bool final = false; !final;)
    for (const Response& response : executor_.await_responses(id)) {
      tokens.insert(tokens.end(), response.token_ids.begin(), response.token_ids.end());
      final = response.is_final;
      ++responses;
    }
  EXPECT_EQ(tokens, whole);
  EXPECT_GT(responses, 2);
}

TEST_F(ExecutorTest, CallbacksThatThrowCancelTheirRequestAndBlockingOnesHoldNoStepUp) {
  std::atomic<int> heard{0};
  GenerationRequest slow = greedy({4, 5}, 10);
  slow.streaming = true;
  executor_.enqueue_request(slow, [&](const Response&) {
    while (!release_) std::this_thread::yield();
    ++heard;
  });
  EXPECT_EQ(alone({1, 2}, 30).size(), 30U) << "a blocked callback stopped the steps";
  release_ = true;
  GenerationRequest rude = greedy({4, 5}, 100);
  rude.streaming = true;
  executor_.enqueue_request(rude, [](const Response&) { throw std::runtime_error("no"); });
  ASSERT_TRUE(executor_.drain(std::chrono::seconds(60)));
  EXPECT_EQ(executor_.statistics().kv_cache.used_blocks, 0);
  executor_.shutdown();
  EXPECT_GE(heard, 2);
}

TEST_F(ExecutorTest, ACallbackMayCallEveryMethod) {
  std::atomic<int> ended{0};
  std::atomic<bool> inner{false};
  const RequestId endless = executor_.enqueue_request(greedy({9}, 120));
  GenerationRequest request = greedy({4, 5}, 10);
  request.streaming = true;
  executor_.enqueue_request(request, [&](const Response& response) {
    executor_.cancel_request(endless);
    if (!inner.exchange(true))
      executor_.enqueue_request(greedy({1, 2}, 3),
                                [&](const Response& other) { ended += other.is_final ? 1 : 0; });
    if (!response.is_final) return;
    EXPECT_TRUE(executor_.drain());
    executor_.shutdown();
    ++ended;
  });
  EXPECT_EQ(executor_.await_responses(endless).back().finish_reason, FinishReason::kCancelled);
  while (ended < 2) std::this_thread::yield();
  executor_.shutdown();
  EXPECT_EQ(executor_.health().state, ExecutorHealth::State::kStopped);
}

TEST_F(ExecutorTest, TheLastReferenceMayLieInACallback) {
  std::atomic<int> others{0};
  std::atomic<bool> done{false};
  {
    auto executor = std::make_shared<Executor>(path_, options());
    GenerationRequest endless = greedy({9}, 120);
    endless.streaming = true;
    executor->enqueue_request(std::move(endless), [&, executor](const Response& response) {
      if (response.is_final) done = true;
    });
    executor->enqueue_request(greedy({1, 2}, 120), [&](const Response&) { ++others; });
    executor->cancel_request(1);
  }
  while (!done || others == 0) std::this_thread::yield();
}

TEST_F(ExecutorTest, TheLastReferenceMayLieInAHook) {
  const Engine engine = build(PretrainedModel::from_pretrained(path_));
  const long others = engine.impl().use_count();
  std::atomic<int> seen{0};
  {
    auto executor = std::make_shared<Executor>(engine, options());
    GenerationRequest request = greedy({9}, 5);
    request.options.logits_processor = [&seen, executor](const LogitsView&) { ++seen; };
    executor->enqueue_request(std::move(request), [](const Response&) {});
    auto llm = std::make_shared<LLM>(engine, options());
    SamplingParams sampling;
    sampling.max_tokens = 5;
    RequestOptions hooked;
    hooked.logits_processor = [&seen, llm](const LogitsView&) { ++seen; };
    Prompt prompt;
    prompt.token_ids = {1, 2};
    llm->generate_async(prompt, sampling, hooked);
  }
  while (engine.impl().use_count() > others) std::this_thread::yield();
}

/// What would wait there for itself is an error of that request.
TEST_F(ExecutorTest, AHookThatWaitsForItsOwnThreadFailsItsRequestAlone) {
  LLM llm(path_, options());
  const std::vector<std::pair<std::string, std::function<void()>>> calls = {
      {"drain()", [&] { executor_.drain(); }},
      {"shutdown()", [&] { executor_.shutdown(); }},
      {"await_responses()", [&] { executor_.await_responses(); }}};
  for (const auto& [name, call] : calls) {
    GenerationRequest request = greedy({4, 5}, 10);
    request.options.logits_processor = [&call = call](const LogitsView&) { call(); };
    const RequestId id = executor_.enqueue_request(std::move(request));
    const auto responses = executor_.await_responses(id, std::chrono::seconds(60));
    ASSERT_EQ(responses.size(), 1U) << name;
    EXPECT_EQ(responses[0].finish_reason, FinishReason::kError) << name;
    EXPECT_NE(std::string(responses[0].error->what()).find(name), std::string::npos)
        << responses[0].error->what();
  }
  EXPECT_EQ(alone({1, 2}, 5).size(), 5U);
  SamplingParams sampling;
  sampling.max_tokens = 4;
  RequestOptions hooked;
  hooked.logits_processor = [&](const LogitsView&) { llm.generate_ids({{1, 2}}, {}); };
  Prompt prompt;
  prompt.token_ids = {1, 2, 3};
  EXPECT_THROW(llm.generate({prompt}, sampling, hooked), Error);
  EXPECT_EQ(llm.generate_ids({{1, 2, 3}}, sampling).size(), 1U);
}

/// Whatever a hook makes of the logits, a request ends well or with an error, drawn or searched.
TEST_F(ExecutorTest, LogitsThatLeaveNoTokenAreAnErrorInEveryMode) {
  const float kBad[] = {NAN, -INFINITY};
  for (const float bad : kBad)
    for (const int beams : {1, 2})
      for (const float temperature : {0.0F, 1.0F}) {
        GenerationRequest request = greedy({4, 5}, 6);
        request.sampling.temperature = temperature;
        request.sampling.beam_width = beams;
        request.options.logits_processor = [bad](const LogitsView& view) {
          std::fill(view.logits.begin(), view.logits.end(), bad);
        };
        const auto responses = executor_.await_responses(executor_.enqueue_request(request));
        ASSERT_EQ(responses.size(), 1U);
        EXPECT_EQ(responses[0].finish_reason, FinishReason::kError) << bad << " " << beams;
        ASSERT_TRUE(responses[0].error);
        EXPECT_NE(std::string(responses[0].error->what()).find("no token may follow"),
                  std::string::npos)
            << responses[0].error->what();
      }
  EXPECT_EQ(alone({1, 2}, 5).size(), 5U);
}

TEST_F(ExecutorTest, TheLongestTimeoutIsNoTimeout) {
  const RequestId id = executor_.enqueue_request(greedy({1, 2, 3}, 10));
  EXPECT_EQ(executor_.await_responses(id, std::chrono::milliseconds::max()).size(), 1U);
  EXPECT_TRUE(executor_.drain(std::chrono::milliseconds::max()));
}

TEST_F(ExecutorTest, WrongRequestsAreRefusedWithTheFieldsName) {
  const auto refused = [&](const std::function<void(GenerationRequest&)>& spoil,
                           const char* field) {
    GenerationRequest request = greedy({1, 2, 3}, 5);
    spoil(request);
    try {
      executor_.enqueue_request(std::move(request));
      ADD_FAILURE() << field << " was accepted";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(field), std::string::npos) << error.what();
    }
  };
  refused([](auto& r) { r.input_token_ids.clear(); }, "input_ids");
  refused([](auto& r) { r.input_token_ids = {-4}; }, "input_ids");
  refused([](auto& r) { r.sampling.temperature = NAN; }, "temperature");
  refused([](auto& r) { r.sampling.max_tokens = -1; }, "max_tokens");
  refused([](auto& r) { r.sampling.beam_width = 200; }, "beam_width");
  refused([](auto& r) { r.options.priority = 2; }, "priority");
  refused([](auto& r) { r.options.total_seconds = -1; }, "total_seconds");
  refused([](auto& r) { r.options.retention.ranges = {{5, 2}}; }, "retention");
  EXPECT_EQ(executor_.statistics().refused_requests, 8U);
  EXPECT_EQ(alone({1, 2, 3}, 5).size(), 5U);
}

TEST_F(ExecutorTest, AFullQueueRefusesWithAnEstimate) {
  alone({1}, 2);
  wait_for_statistics(1);
  std::vector<GenerationRequest> many(65, greedy({1, 2}, 100));
  std::vector<RequestId> taken;
  try {
    for (int i = 0; i < 1000; ++i) taken.push_back(executor_.enqueue_request(greedy({1, 2}, 100)));
    FAIL() << "a thousand requests were queued";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kResourceExhausted);
    EXPECT_NE(std::string(error.what()).find("max_queue_size 64"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("requests/s"), std::string::npos) << error.what();
  }
  EXPECT_THROW(executor_.enqueue_requests(many), Error);
  for (const RequestId id : taken) executor_.cancel_request(id);
  ASSERT_TRUE(executor_.drain(std::chrono::seconds(60)));
  std::size_t answers = 0;
  for (const Response& response : executor_.await_responses()) answers += response.is_final;
  EXPECT_EQ(answers, taken.size())
      << "each request is answered, and those of the failed call are not";
}

TEST_F(ExecutorTest, ManyAreTakenAtOnceOrNoneIs) {
  const std::vector<std::vector<std::int32_t>> prompts = {{1, 2, 3}, {4}, {5, 6}, {1, 2, 3, 7}};
  std::vector<GenerationRequest> requests;
  for (const auto& prompt : prompts) requests.push_back(greedy(prompt, 12));
  const std::vector<RequestId> ids = executor_.enqueue_requests(requests);
  ASSERT_EQ(ids.size(), prompts.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto responses = executor_.await_responses(ids[i]);
    ASSERT_EQ(responses.size(), 1U);
    EXPECT_EQ(responses[0].request_id, ids[i]);
    EXPECT_EQ(responses[0].token_ids, alone(prompts[i], 12));
  }
  requests[2].sampling.top_p = 3;
  try {
    executor_.enqueue_requests(requests);
    ADD_FAILURE() << "a wrong one was taken";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("top_p"), std::string::npos) << error.what();
  }
  ASSERT_TRUE(executor_.drain(std::chrono::seconds(60)));
  EXPECT_EQ(executor_.responses_ready(), 0U);
}

TEST_F(ExecutorTest, ManyThreadsSubmitAndCancelAtRandom) {
  const auto expected = alone({7, 8, 9}, 15);
  std::vector<std::thread> threads;
  std::atomic<int> whole{0};
  for (int t = 0; t < 16; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 10; ++i) {
        const RequestId id = executor_.enqueue_request(greedy({7, 8, 9}, 15));
        if ((t + i) % 3 == 0) executor_.cancel_request(id);
        const Response response = executor_.await_responses(id).at(0);
        if (response.finish_reason == FinishReason::kCancelled) continue;
        EXPECT_EQ(response.token_ids, expected);
        ++whole;
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_GE(whole, 90);
  ASSERT_TRUE(executor_.drain(std::chrono::seconds(60)));
  EXPECT_EQ(executor_.statistics().kv_cache.used_blocks, 0);
}

TEST_F(ExecutorTest, AnEmbeddingKeepsRoomForItsPromptAlone) {
  GenerationRequest request;
  request.input_token_ids = {1, 2, 3};
  request.embedding = true;
  request.sampling.max_tokens = 1000000;  // more than any sequence may have: it draws none
  const Response response = executor_.await_responses(executor_.enqueue_request(request)).at(0);
  EXPECT_FALSE(response.embedding.empty());
  EXPECT_TRUE(response.token_ids.empty());
}

TEST_F(ExecutorTest, SaysHowItIs) {
  EXPECT_EQ(executor_.health().state, ExecutorHealth::State::kReady);
  alone({1, 2, 3}, 5);
  wait_for_statistics(1);
  const auto iterations = executor_.take_iteration_statistics();
  ASSERT_EQ(iterations.size(), 5U);
  EXPECT_EQ(iterations[0].context_requests, 1);
  EXPECT_EQ(iterations[4].generation_requests, 1);
  EXPECT_NE(to_json(iterations[0]).find("\"numCtxTokens\":3"), std::string::npos)
      << to_json(iterations[0]);
  EXPECT_NE(to_json(executor_.statistics()).find("\"generatedTokens\":5"), std::string::npos);
  ASSERT_TRUE(executor_.drain());
  EXPECT_EQ(executor_.health().state, ExecutorHealth::State::kDraining);
  EXPECT_THROW(executor_.enqueue_request(greedy({1}, 1)), Error);
  executor_.shutdown();
  EXPECT_EQ(executor_.health().state, ExecutorHealth::State::kStopped);
}

class LlmOnTop : public testing::Test {
 protected:
  static SamplingParams greedy(int tokens) {
    SamplingParams params;
    params.temperature = 0;
    params.max_tokens = tokens;
    params.ignore_eos = true;
    return params;
  }
  LLM llm_{data_path("models/llama_text").string(), options()};
};

TEST_F(LlmOnTop, AsyncStreamsPollsAndCancels) {
  const std::string whole = llm_.generate({"a river"}, greedy(20))[0].outputs[0].text;
  Prompt prompt;
  prompt.text = "a river";
  Generation one = llm_.generate_async(prompt, greedy(20));
  std::string text;
  while (const auto piece = one.next()) text += piece->text;
  EXPECT_TRUE(one.done());
  EXPECT_EQ(text, whole);
  EXPECT_EQ(one.wait().outputs[0].text, whole);
  Generation cancelled = llm_.generate_async(prompt, greedy(100));
  cancelled.cancel();
  EXPECT_EQ(cancelled.wait().outputs[0].finish_reason, FinishReason::kCancelled);
  Generation ended = llm_.generate_async(prompt, greedy(100));
  llm_.cancel_all();
  EXPECT_EQ(ended.wait().outputs[0].finish_reason, FinishReason::kCancelled);
  { const Generation forgotten = llm_.generate_async(prompt, greedy(100)); }
  ASSERT_TRUE(llm_.drain(60.0));
  EXPECT_EQ(llm_.statistics().kv_cache.used_blocks, 0) << "a client that vanished holds blocks";
}

TEST_F(LlmOnTop, AnOutputIsTakenOnce) {
  Prompt prompt;
  prompt.token_ids = {1, 2};
  SamplingParams sampling;
  sampling.max_tokens = 3;
  Generation one = llm_.generate_async(prompt, sampling);
  EXPECT_EQ(one.wait().outputs.size(), 1U);
  EXPECT_THROW(one.wait(), Error);
}

/// A search that looks for no text must not say that it did.
TEST_F(LlmOnTop, StopTextsAreRefusedInBeamSearch) {
  SamplingParams sampling;
  sampling.beam_width = 2;
  sampling.stop = {"a"};
  EXPECT_THROW(llm_.generate_ids({{1, 2}}, sampling), Error);
}

TEST_F(LlmOnTop, StopAndBadWordsInTokensAndText) {
  const auto plain = llm_.generate({"a river"}, greedy(24))[0].outputs[0];
  SamplingParams params = greedy(24);
  params.stop_words = {{plain.token_ids[5], plain.token_ids[6]}};
  const auto cut = llm_.generate({"a river"}, params)[0].outputs[0];
  EXPECT_EQ(cut.finish_reason, FinishReason::kStopWords);
  EXPECT_LE(cut.token_ids.size(), 5U);
  params.include_stop_in_output = true;
  const auto kept = llm_.generate({"a river"}, params)[0].outputs[0];
  EXPECT_EQ(kept.token_ids.size(), cut.token_ids.size() + 2);
  params = greedy(24);
  params.bad_words = {{plain.token_ids[3]}};
  const auto avoided = llm_.generate({"a river"}, params)[0].outputs[0];
  EXPECT_EQ(std::count(avoided.token_ids.begin(), avoided.token_ids.end(), plain.token_ids[3]), 0);
}

TEST_F(LlmOnTop, BestOfKeepsTheLikeliest) {
  SamplingParams params;
  params.seed = 5;
  params.max_tokens = 8;
  params.ignore_eos = true;
  params.n = 6;
  params.logprobs = 0;
  auto all = llm_.generate({"the"}, params)[0].outputs;
  params.best_of = 6;
  params.n = 2;
  const auto best = llm_.generate({"the"}, params)[0].outputs;
  ASSERT_EQ(best.size(), 2U);
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
    return a.cumulative_logprob > b.cumulative_logprob;
  });
  EXPECT_EQ(best[0].token_ids, all[0].token_ids);
  EXPECT_EQ(best[1].token_ids, all[1].token_ids);
}

TEST_F(LlmOnTop, PromptLogprobsAreThoseOfTheLogits) {
  SamplingParams params = greedy(2);
  params.prompt_logprobs = 2;
  params.return_context_logits = true;
  const auto output = llm_.generate({"a river runs"}, params)[0];
  const std::size_t length = output.prompt_token_ids.size();
  ASSERT_EQ(output.prompt_logprobs.size(), length - 1);
  ASSERT_EQ(output.context_logits.values.size(),
            length * static_cast<std::size_t>(output.context_logits.vocab_size));
  for (std::size_t p = 0; p + 1 < length; ++p) {
    const float* row = output.context_logits.values.data() +
                       p * static_cast<std::size_t>(output.context_logits.vocab_size);
    double total = 0;
    for (std::int64_t v = 0; v < output.context_logits.vocab_size; ++v)
      total += std::exp(double{row[v]});
    EXPECT_EQ(output.prompt_logprobs[p].token_id, output.prompt_token_ids[p + 1]);
    EXPECT_NEAR(output.prompt_logprobs[p].logprob,
                row[output.prompt_token_ids[p + 1]] - std::log(total), 1e-4);
  }
}

TEST_F(LlmOnTop, EmbeddingsAreOfUnitLengthAndTellTextsApart) {
  const auto rows = llm_.embed({"a river", "a river", "the sun"});
  ASSERT_EQ(rows.size(), 3U);
  const auto dot = [](const auto& a, const auto& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * b[i];
    return sum;
  };
  EXPECT_NEAR(dot(rows[0], rows[0]), 1, 1e-5);
  EXPECT_EQ(rows[0], rows[1]);
  EXPECT_LT(dot(rows[0], rows[2]), 0.9999);
}

}  // namespace
}  // namespace tenon::test
