// Workers that die, lie or fail in every way: requests go on in the next one with the outputs they
// would have had, the one at fault fails with the reason, and this process lives.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <unistd.h>

#include <map>
#include <thread>

#include "tenon/executor.h"
#include "worker_support.h"

namespace tenon::test {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using Ids = std::vector<std::int32_t>;

constexpr std::int32_t kPoison = 77;  // a token that brings workers down, and no model's output

std::string model() { return data_path("models/llama_text").string(); }

SamplingParams greedy(int tokens) {
  SamplingParams params;
  params.temperature = 0;
  params.max_tokens = tokens;
  params.ignore_eos = true;
  params.logit_bias = {{kPoison, -1e6F}};
  return params;
}

GenerationRequest request(const Ids& ids, int tokens) {
  GenerationRequest one;
  one.input_token_ids = ids;
  one.sampling = greedy(tokens);
  return one;
}

/// All responses of a request joined.
struct Outcome {
  Ids tokens;
  std::string error;
};
Outcome outcome_of(Executor& executor, RequestId id) {
  Outcome outcome;
  for (bool final = false; !final;) {
    const auto responses = executor.await_responses(id, std::chrono::seconds(60));
    if (responses.empty()) {
      ADD_FAILURE() << "nobody said that it ended";
      return outcome;
    }
    for (const Response& response : responses) {
      outcome.tokens.insert(outcome.tokens.end(), response.token_ids.begin(),
                            response.token_ids.end());
      if (response.error) outcome.error = response.error->what();
      final = response.is_final;
    }
  }
  return outcome;
}

/// What each gives alone, in a session of this process.
Ids alone(const Ids& ids, int tokens) {
  static LLM llm = [] {
    LlmOptions options = worker_options();
    options.executor.worker_process = false;
    options.executor.worker_executable.clear();
    return LLM(model(), options);
  }();
  return llm.generate_ids({ids}, greedy(tokens))[0].outputs[0].token_ids;
}

std::string refusal_of(Executor& executor) {
  try {
    executor.enqueue_request(request({1, 2}, 1));
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

/// Its first worker alone fails so.
LLM with_first_worker(const std::string& name) {
  const WithFault fault(name);
  return LLM(model(), worker_options());
}

TEST(WorkerFault, OneThatIsKilledInMidGenerationTakesNoRequestAlong) {
  for (const int requests : {1, 4}) {
    LLM llm = with_first_worker("kill_at_step:10");
    std::vector<Ids> prompts;
    for (int i = 0; i < requests; ++i) prompts.push_back({1, 2 + i, 3});
    const pid_t worker = worker_named_in(llm.describe());
    const auto outputs = llm.generate_ids(prompts, greedy(40));
    for (std::size_t i = 0; i < prompts.size(); ++i)
      EXPECT_EQ(outputs[i].outputs[0].token_ids, alone(prompts[i], 40));
    EXPECT_EQ(llm.statistics().lost_workers, 1U);
    EXPECT_EQ(llm.statistics().failed_requests, 0U);
    EXPECT_NE(worker_named_in(llm.describe()), worker);
    EXPECT_EQ(llm.health().state, ExecutorHealth::State::kReady);
  }
}

TEST(WorkerFault, WhatWasDrawnStaysAndTheRestIsDrawnTheSame) {
  SamplingParams drawn = greedy(24);
  drawn.temperature = 1.5F;
  drawn.seed = 11;
  drawn.n = 3;
  SamplingParams beams = greedy(24);
  beams.beam_width = 4;
  beams.n = 3;
  for (const SamplingParams& params : {drawn, beams}) {
    SCOPED_TRACE(params.beam_width);
    RequestOptions hooks;
    if (params.beam_width == 1)
      hooks.logits_processor = [](const LogitsView& view) { view.logits[5] += 1; };
    Prompt prompt;
    prompt.token_ids = {4, 5, 6};
    LLM whole(model(), worker_options());
    const auto expected = whole.generate({prompt}, params, hooks);
    LLM cut = with_first_worker("kill_at_step:12");
    const auto outputs = cut.generate({prompt}, params, hooks);
    EXPECT_EQ(cut.statistics().lost_workers, 1U);
    ASSERT_EQ(outputs[0].outputs.size(), 3U);
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(outputs[0].outputs[i].token_ids, expected[0].outputs[i].token_ids);
      EXPECT_EQ(outputs[0].outputs[i].score, expected[0].outputs[i].score);
    }
  }
}

TEST(WorkerFault, ARequestThatBringsItDownEndsAlone) {
  const WithFault fault("segv_on_token:" + std::to_string(kPoison));
  Executor executor(model(), worker_options());
  std::map<RequestId, Ids> good;
  std::vector<RequestId> bad;
  for (std::int32_t i = 0; i < 3; ++i) {
    const Ids ids = {1, 2, 10 + i};
    good.emplace(executor.enqueue_request(request(ids, 30)), ids);
    if (i == 1) bad.push_back(executor.enqueue_request(request({1, 2, kPoison}, 30)));
  }
  for (const auto& [id, ids] : good) {
    const Outcome outcome = outcome_of(executor, id);
    EXPECT_EQ(outcome.error, "");
    EXPECT_EQ(outcome.tokens, alone(ids, 30));
  }
  for (const RequestId id : bad)
    EXPECT_THAT(outcome_of(executor, id).error,
                AllOf(HasSubstr("signal 11"), HasSubstr("the last words")));
  EXPECT_EQ(executor.health().state, ExecutorHealth::State::kReady);
  const ExecutorStatistics statistics = executor.statistics();
  EXPECT_EQ(statistics.lost_workers, 2U) << "together with others, then alone";
  EXPECT_EQ(statistics.failed_requests, 1U);
  EXPECT_EQ(outcome_of(executor, executor.enqueue_request(request({1, 2, 3}, 5))).tokens,
            alone({1, 2, 3}, 5));
}

TEST(WorkerFault, ACrashNamesTheOp) {
  const WithFault fault("crash_on_token:" + std::to_string(kPoison));
  Executor executor(model(), worker_options());
  EXPECT_THAT(outcome_of(executor, executor.enqueue_request(request({1, 2, kPoison}, 30))).error,
              AllOf(HasSubstr("signal 11"),
                    HasSubstr("crashed in [linear] \"logits\", kernel linear_ref")));
}

TEST(WorkerFault, AnErrorThatSticksCostsTheWorkerAndNamesTheOp) {
  const WithFault fault("lost_on_token:" + std::to_string(kPoison));
  Executor executor(model(), worker_options());
  const RequestId good = executor.enqueue_request(request({1, 2, 3}, 30));
  const RequestId bad = executor.enqueue_request(request({1, 2, kPoison}, 30));
  EXPECT_EQ(outcome_of(executor, good).tokens, alone({1, 2, 3}, 30));
  EXPECT_THAT(outcome_of(executor, bad).error,
              AllOf(HasSubstr("[linear] \"logits\": an illegal memory access"),
                    HasSubstr("worker process")));
  EXPECT_EQ(executor.health().state, ExecutorHealth::State::kReady);
  EXPECT_GE(executor.statistics().lost_workers, 1U);
}

TEST(WorkerFault, AnErrorThatDoesNotStickLeavesTheWorker) {
  const WithFault fault("error_on_token:" + std::to_string(kPoison));
  Executor executor(model(), worker_options());
  const RequestId good = executor.enqueue_request(request({1, 2, 3}, 30));
  const RequestId bad = executor.enqueue_request(request({1, 2, kPoison}, 30));
  EXPECT_EQ(outcome_of(executor, good).tokens, alone({1, 2, 3}, 30));
  EXPECT_EQ(outcome_of(executor, bad).error, "[linear] \"logits\": a wrong grid");
  EXPECT_EQ(executor.statistics().lost_workers, 0U);
}

TEST(WorkerFault, OneThatDiesAtEveryStepEndsTheSessionAndNotTheProcess) {
  const WithFault fault("kill_at_step:1");
  Executor executor(model(), worker_options());
  std::vector<RequestId> ids;
  for (int i = 0; i < 4; ++i) ids.push_back(executor.enqueue_request(request({1, 2, 3 + i}, 5)));
  for (const RequestId id : ids)
    EXPECT_THAT(outcome_of(executor, id).error,
                AllOf(HasSubstr("worker process"), HasSubstr("signal 9")));
  for (int i = 0; i < 3 && refusal_of(executor).empty(); ++i)
    EXPECT_NE(outcome_of(executor, executor.enqueue_request(request({5}, 5))).error, "");
  EXPECT_THAT(refusal_of(executor), HasSubstr("the session failed"));
  const ExecutorHealth health = executor.health();
  EXPECT_EQ(health.state, ExecutorHealth::State::kFailed);
  EXPECT_THAT(health.message, HasSubstr("signal 9"));
  const ExecutorStatistics statistics = executor.statistics();
  EXPECT_GE(statistics.lost_workers, 3U);
  EXPECT_LE(statistics.lost_workers, 6U) << "there is an end to starting it again";
}

TEST(WorkerFault, OneRequestAfterAnotherComesToTheSameEnd) {
  const WithFault fault("kill_at_step:1");
  Executor executor(model(), worker_options());
  int failed = 0;
  while (refusal_of(executor).empty() && failed < 20) {
    EXPECT_NE(outcome_of(executor, executor.enqueue_request(request({5}, 5))).error, "");
    ++failed;
  }
  EXPECT_LE(failed, 4);
  EXPECT_LE(executor.statistics().lost_workers, 6U);
}

TEST(WorkerFault, WhatIsNoAnswerIsSeenForWhatItIs) {
  const std::map<std::string, std::string> cases = {
      {"garbage_at_step:1", "no message"},
      {"half_message_at_step:1", "middle of a message"},
      {"half_result_at_step:1", "middle of a message"},
      {"false_result_at_step:1", "damaged"},
      {"unasked_at_step:1", "nobody had asked"}};
  for (const auto& [name, said] : cases) {
    SCOPED_TRACE(name);
    const WithFault fault(name);
    Executor executor(model(), worker_options());
    EXPECT_THAT(outcome_of(executor, executor.enqueue_request(request({5}, 5))).error,
                AllOf(HasSubstr("worker process"), HasSubstr(said)));
  }
}

TEST(WorkerFault, OneThatDiesWhileItsLogitsAreRead) {
  const WithFault fault("kill_at_read");
  Executor executor(model(), worker_options());
  GenerationRequest wants = request({5}, 5);
  wants.options.logits_processor = [](const LogitsView&) {};
  const RequestId bad = executor.enqueue_request(std::move(wants));
  const RequestId good = executor.enqueue_request(request({6}, 5));
  EXPECT_THAT(outcome_of(executor, bad).error, HasSubstr("signal 9"));
  EXPECT_EQ(outcome_of(executor, good).tokens, alone({6}, 5));
}

TEST(WorkerFault, OneThatDiesBetweenRequestsCostsNone) {
  LLM llm(model(), worker_options());
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(llm.generate_ids({{1, 2, 3}}, greedy(8))[0].outputs[0].token_ids,
              alone({1, 2, 3}, 8));
    ::kill(worker_named_in(llm.describe()), i == 1 ? SIGSEGV : SIGKILL);
  }
  EXPECT_EQ(llm.generate_ids({{1, 2, 3}}, greedy(8))[0].outputs[0].token_ids, alone({1, 2, 3}, 8));
  EXPECT_EQ(llm.statistics().lost_workers, 3U);
}

TEST(WorkerFault, KilledAtAnyTimeAllEndsRight) {
  LLM llm(model(), worker_options());
  const Ids expected = alone({1, 2, 3}, 25);
  std::atomic<bool> done{false};
  std::atomic<std::uint64_t> kills{0};
  std::thread killer([&] {
    // Not twice within the steps that three requests take from their beginning to their end.
    std::uint64_t next = 5;
    while (!done) {
      if (llm.statistics().steps >= next) {
        ::kill(worker_named_in(llm.describe()), SIGKILL);
        next = llm.statistics().steps + 60 + ++kills;
      }
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  });
  while (kills < 8) {
    const auto outputs = llm.generate_ids({{1, 2, 3}, {1, 2, 3}, {1, 2, 3}}, greedy(25));
    for (const RequestOutput& one : outputs) EXPECT_EQ(one.outputs[0].token_ids, expected);
  }
  done = true;
  killer.join();
  EXPECT_EQ(llm.generate_ids({{1, 2, 3}}, greedy(25))[0].outputs[0].token_ids, expected);
  EXPECT_TRUE(llm.drain(60.0));
  EXPECT_EQ(llm.statistics().kv_cache.used_blocks, 0);
  EXPECT_EQ(llm.statistics().lost_workers, kills);
}

TEST(WorkerFault, FilesThatChangedAreNotServed) {
  std::string folder = (std::filesystem::temp_directory_path() / "tenon-worker-XXXXXX").string();
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  const std::string engine = folder + "/engine";
  const auto make = [&](std::int64_t batch) {
    std::filesystem::remove_all(engine);
    build(PretrainedModel::from_pretrained(model()), {.max_batch_size = batch}).save(engine);
  };
  make(16);
  {
    LLM llm(engine, worker_options());
    make(8);
    ::kill(worker_named_in(llm.describe()), SIGKILL);
    try {
      llm.generate_ids({{1, 2, 3}}, greedy(3));
      ADD_FAILURE() << "served";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(),
                  AllOf(HasSubstr("could not be started again"), HasSubstr("changed")));
    }
    make(16);  // as it was
    EXPECT_EQ(llm.generate_ids({{1, 2, 3}}, greedy(3))[0].outputs[0].token_ids,
              alone({1, 2, 3}, 3));
  }
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace tenon::test
