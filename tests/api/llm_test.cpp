// LLM on a tiny model with a tokenizer: text in, text out, together and alone, streamed, stopped,
// cancelled, refused.
// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <map>
#include <thread>

#include "fixture.h"

namespace tenon::test {
namespace {

class Llm : public ::testing::Test {
 protected:
  LLM llm_{data_path("models/llama_text").string(), tiny_options()};
  std::vector<std::string> prompts_ = {"a river", "the", "when it rains the town", "x"};

  static SamplingParams sampled(int tokens) {
    SamplingParams params;
    params.max_tokens = tokens;
    params.seed = 11;
    params.ignore_eos = true;
    return params;
  }
};

TEST_F(Llm, StreamedPiecesAddUpToTheText) {
  std::map<std::pair<std::size_t, int>, std::string> pieces;
  std::map<std::pair<std::size_t, int>, int> ends;
  SamplingParams params = sampled(24);
  params.n = 2;
  const auto outputs = llm_.generate(prompts_, params, [&](const TextDelta& delta) {
    pieces[{delta.request, delta.sample}] += delta.text;
    ends[{delta.request, delta.sample}] += delta.finished ? 1 : 0;
    return true;
  });
  ASSERT_EQ(outputs.size(), prompts_.size());
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    ASSERT_EQ(outputs[i].outputs.size(), 2U);
    EXPECT_NE(outputs[i].outputs[0].token_ids, outputs[i].outputs[1].token_ids) << "samples differ";
    for (const CompletionOutput& sample : outputs[i].outputs) {
      EXPECT_EQ((pieces[{i, sample.index}]), sample.text);
      EXPECT_EQ((ends[{i, sample.index}]), 1);
      EXPECT_EQ(sample.text, llm_.decode(sample.token_ids));
      EXPECT_EQ(sample.finish_reason, FinishReason::kLength);
    }
  }
}

TEST_F(Llm, ACallThatIsRefusedCancelsNoOtherCall) {
  std::atomic<bool> started{false};
  std::vector<RequestOutput> outputs;
  std::thread other([&] {
    outputs = llm_.generate({prompts_[0]}, sampled(40), [&](const TextDelta&) {
      started = true;
      return true;
    });
  });
  while (!started) std::this_thread::yield();
  const std::vector<std::int32_t> too_long(100'000, 1);
  EXPECT_THROW(llm_.generate_ids({{1, 2}, too_long}, sampled(4)), Error);
  other.join();
  EXPECT_EQ(outputs.at(0).outputs.at(0).finish_reason, FinishReason::kLength);
}

TEST(LlmQueue, MorePromptsThanItHoldsTakeTurns) {
  LlmOptions options = tiny_options();
  options.executor.max_queue_size = 2;
  LLM llm(data_path("models/llama_text").string(), options);
  SamplingParams params;
  params.max_tokens = 3;
  params.temperature = 0;
  params.ignore_eos = true;
  std::vector<std::vector<std::int32_t>> prompts;
  for (std::int32_t i = 0; i < 50; ++i) prompts.push_back({1, 2 + i});
  const auto plain = llm.generate_ids(prompts, params);
  ASSERT_EQ(plain.size(), 50U);
  for (std::size_t i = 0; i < plain.size(); i += 7)
    EXPECT_EQ(plain[i].outputs[0].token_ids,
              llm.generate_ids({prompts[i]}, params)[0].outputs[0].token_ids);
  std::vector<std::string> pieces(prompts.size());
  const auto streamed = llm.generate_ids(prompts, params, [&](const TextDelta& delta) {
    pieces[delta.request] += delta.text;
    return delta.request != 5;  // of which no more is wanted
  });
  for (std::size_t i = 0; i < streamed.size(); ++i)
    EXPECT_EQ(streamed[i].outputs[0].text, pieces[i]);
  EXPECT_EQ(llm.embed(std::vector<std::string>(50, "a river")).size(), 50U);
  EXPECT_EQ(llm.statistics().refused_requests, 0U);
}

/// Others fill the queue: the call is refused, not held up.
TEST(LlmQueue, ACallThatFindsItFullIsRefused) {
  LlmOptions options = tiny_options();
  options.executor.max_queue_tokens = 4;
  LLM llm(data_path("models/llama_text").string(), options);
  SamplingParams params;
  params.max_tokens = 3;
  EXPECT_THROW(llm.generate_ids({{1, 2, 3, 4, 5}}, params), Error) << "never fits";
  EXPECT_THROW(llm.generate_ids({{1, 2}, {1, 2, 3, 4, 5}}, params), Error);
  EXPECT_EQ(llm.generate_ids({{1, 2, 3}, {1, 2, 4}}, params).size(), 2U);
}

TEST_F(Llm, TogetherEqualsAlone) {
  SamplingParams greedy = sampled(20);
  greedy.temperature = 0;
  const auto together = llm_.generate(prompts_, greedy);
  for (std::size_t i = 0; i < prompts_.size(); ++i)
    EXPECT_EQ(llm_.generate({prompts_[i]}, greedy)[0].outputs[0].token_ids,
              together[i].outputs[0].token_ids)
        << prompts_[i];
}

TEST_F(Llm, ASeedDrawsTheSameTokensWhateverElseRuns) {
  const auto alone = llm_.generate({prompts_[2]}, sampled(20));
  const auto mixed = llm_.generate(prompts_, sampled(20));
  EXPECT_EQ(mixed[2].outputs[0].token_ids, alone[0].outputs[0].token_ids);
  SamplingParams other = sampled(20);
  other.seed = 12;
  EXPECT_NE(llm_.generate({prompts_[2]}, other)[0].outputs[0].token_ids,
            alone[0].outputs[0].token_ids);
}

TEST_F(Llm, StopTextEndsTheOutputAndIsLeftOut) {
  SamplingParams greedy = sampled(30);
  greedy.temperature = 0;
  const std::string text = llm_.generate({"a river"}, greedy)[0].outputs[0].text;
  ASSERT_GT(text.size(), 8U);
  greedy.stop = {text.substr(4, 3)};
  const auto stopped = llm_.generate({"a river"}, greedy)[0].outputs[0];
  EXPECT_EQ(stopped.text, text.substr(0, text.find(greedy.stop[0])));
  EXPECT_EQ(stopped.finish_reason, FinishReason::kStopWords);
  greedy.include_stop_in_output = true;
  EXPECT_EQ(llm_.generate({"a river"}, greedy)[0].outputs[0].text, stopped.text + greedy.stop[0]);
}

TEST_F(Llm, ACallbackThatSaysNoEndsItsSample) {
  int calls = 0;
  const auto output = llm_.generate(
      {"the"}, sampled(50), [&](const TextDelta& delta) { return delta.finished || ++calls < 3; });
  EXPECT_EQ(output[0].outputs[0].finish_reason, FinishReason::kStopWords);
  EXPECT_LT(output[0].outputs[0].token_ids.size(), 50U);
}

TEST_F(Llm, CancelAllEndsWhatRuns) {
  std::atomic<bool> started{false};
  std::thread canceller([&] {
    while (!started) std::this_thread::yield();
    llm_.cancel_all();
  });
  SamplingParams params = sampled(100);
  const auto outputs = llm_.generate({"the"}, params, [&](const TextDelta&) {
    started = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    return true;
  });
  canceller.join();
  EXPECT_EQ(outputs[0].outputs[0].finish_reason, FinishReason::kCancelled);
}

TEST_F(Llm, LogprobsAreThoseOfTheLogits) {
  SamplingParams greedy = sampled(6);
  greedy.temperature = 0;
  greedy.logprobs = 3;
  greedy.return_generation_logits = true;
  const auto output = llm_.generate({"a river"}, greedy)[0].outputs[0];
  ASSERT_EQ(output.logprobs.size(), 6U);
  const std::int64_t vocab = output.generation_logits.vocab_size;
  ASSERT_EQ(output.generation_logits.values.size(), static_cast<std::size_t>(6 * vocab));
  float sum = 0;
  for (std::size_t t = 0; t < 6; ++t) {
    const float* row = output.generation_logits.values.data() + t * static_cast<std::size_t>(vocab);
    double total = 0;
    for (std::int64_t v = 0; v < vocab; ++v) total += std::exp(double{row[v]});
    const TokenLogprobs& logprob = output.logprobs[t];
    EXPECT_NEAR(logprob.logprob, row[logprob.token_id] - std::log(total), 1e-4);
    ASSERT_EQ(logprob.top.size(), 3U);
    EXPECT_EQ(logprob.top[0].first, logprob.token_id) << "greedy takes the likeliest";
    EXPECT_GE(logprob.top[0].second, logprob.top[1].second);
    sum += logprob.logprob;
  }
  EXPECT_NEAR(output.cumulative_logprob, sum, 1e-4);
}

TEST_F(Llm, ChatAppliesTheTemplate) {
  ASSERT_TRUE(llm_.has_chat_template());
  const std::string prompt = llm_.apply_chat_template({{"user", "hello"}});
  EXPECT_NE(prompt.find("hello"), std::string::npos);
  SamplingParams greedy = sampled(5);
  greedy.temperature = 0;
  const RequestOutput chat = llm_.chat({{"user", "hello"}}, greedy);
  EXPECT_EQ(chat.prompt, prompt);
  EXPECT_EQ(chat.prompt_token_ids, llm_.encode(prompt, false));
}

TEST_F(Llm, WrongRequestsNameTheFieldAndHarmNobody) {
  SamplingParams wrong = sampled(5);
  wrong.top_p = 7;
  EXPECT_THROW(llm_.generate({"the"}, wrong), Error);
  EXPECT_THROW(llm_.generate_ids({{1, 2}, {}}, sampled(5)), Error);
  EXPECT_THROW(llm_.generate_ids({{1 << 20}}, sampled(5)), Error);
  EXPECT_EQ(llm_.generate({"the"}, sampled(5))[0].outputs[0].token_ids.size(), 5U);
}

TEST_F(Llm, ManyThreadsShareOneModel) {
  const auto expected = llm_.generate({prompts_[0]}, sampled(12))[0].outputs[0].token_ids;
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 5; ++i)
        EXPECT_EQ(llm_.generate({prompts_[0]}, sampled(12))[0].outputs[0].token_ids, expected);
    });
  for (std::thread& thread : threads) thread.join();
}

TEST(LlmBuildLimits, BindTheRun) {
  const PretrainedModel model =
      PretrainedModel::from_pretrained(data_path("models/llama_text").string());
  LLM llm(build(model, {.max_input_len = 4, .gather_generation_logits = true}), tiny_options());
  SamplingParams params;
  params.max_tokens = 2;
  const auto output = llm.generate_ids({{1, 2, 3, 4}}, params)[0].outputs[0];
  EXPECT_EQ(output.generation_logits.values.size(),
            static_cast<std::size_t>(2 * output.generation_logits.vocab_size));
  try {
    llm.generate_ids({{1, 2, 3, 4, 5}}, params);
    FAIL() << "a prompt longer than max_input_len was accepted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("max_input_len 4"), std::string::npos);
  }
  EXPECT_THROW(build(model, {.max_input_len = 64, .max_seq_len = 32}), Error);
}

TEST(LlmTaps, GiveTheNamedValueUnderEveryMapping) {
  const std::string name = "layers.1.mlp.output";
  std::vector<float> first;
  for (const auto& [tp, pp] : {std::pair{1, 1}, {2, 1}, {1, 2}}) {
    LlmOptions options = tiny_options();
    options.taps = {name};
    options.mapping.tp_size = tp;
    options.mapping.pp_size = pp;
    LLM llm(data_path("models/llama_text").string(), options);
    std::vector<std::int64_t> shape;
    const std::vector<float> values = llm.tap({1, 2, 3, 4, 5}, name, shape);
    ASSERT_EQ(shape.size(), 2U);
    EXPECT_EQ(shape[0], 5);
    if (first.empty())
      first = values;
    else
      EXPECT_LE(largest_difference(values, first), 1e-4F) << tp << " x " << pp;
  }
  LlmOptions options = tiny_options();
  options.taps = {"layers.1.mlp.outptu"};
  try {
    LLM llm(data_path("models/llama_text").string(), options);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("layers.1.mlp.output"), std::string::npos)
        << error.what();
  }
}

TEST(LlmPublic, FromConfigBuildSaveRun) {
  PretrainedConfig config =
      LlamaForCausalLM::from_pretrained(data_path("models/llama_text").string()).config();
  config.num_hidden_layers = 1;
  PretrainedModel model = PretrainedModel::from_config(config, 5);
  EXPECT_NE(model.forward().find("linear"), std::string::npos);
  const auto inputs =
      model.prepare_inputs({.max_batch_size = 4, .max_input_len = 16, .max_seq_len = 32});
  EXPECT_EQ(inputs.at("token_ids").dims.at(0).max, 64);
  EXPECT_EQ(inputs.at("logit_rows").dims.at(0).max, 4);
  LLM llm(build(model, {.max_batch_size = 4, .max_seq_len = 32}), tiny_options());
  SamplingParams params;
  params.max_tokens = 3;
  EXPECT_EQ(llm.generate_ids({{1, 2, 3}}, params)[0].outputs[0].token_ids.size(), 3U);
  EXPECT_THROW(MistralForCausalLM::from_pretrained(data_path("models/llama_text").string()), Error);
}

}  // namespace
}  // namespace tenon::test
