// The executor with a fake session: every request ends once, with the right tokens, whatever else
// happens around it.
// SPDX-License-Identifier: Apache-2.0
#include "runtime/executor.h"

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <random>
#include <thread>

#include "fake_session.h"

namespace tenon {
namespace {

using test::FakeSession;

/// Records what a request hears.
class Recorder : public RequestSink {
 public:
  explicit Recorder(int samples = 1) : samples_(samples) {}

  Verdict on_tokens(int sample, const SequenceResult& result) override {
    const std::lock_guard lock(mutex_);
    auto& tokens = tokens_[sample];
    tokens.insert(tokens.end(), result.tokens.begin(), result.tokens.end());
    if (throws) throw Error(ErrorCode::kInvalidArgument, "the callback does not like it");
    return tokens.size() >= stop_after ? Verdict::kStop : Verdict::kContinue;
  }
  void on_finish(int sample, FinishReason reason, const Error* error) override {
    const std::lock_guard lock(mutex_);
    EXPECT_FALSE(reasons_.contains(sample)) << "a sample ends twice";
    reasons_[sample] = reason;
    if (error != nullptr) error_ = error->what();
    done_.notify_all();
  }

  FinishReason wait(int sample = 0) {
    std::unique_lock lock(mutex_);
    const bool ended = done_.wait_for(lock, std::chrono::seconds(60), [&] {
      return static_cast<int>(reasons_.size()) == samples_;
    });
    EXPECT_TRUE(ended) << "the request never ends";
    return reasons_[sample];
  }
  std::vector<std::int32_t> tokens(int sample = 0) {
    const std::lock_guard lock(mutex_);
    return tokens_[sample];
  }
  std::string error() {
    const std::lock_guard lock(mutex_);
    return error_;
  }

  bool throws = false;
  std::size_t stop_after = SIZE_MAX;

 private:
  int samples_;
  std::mutex mutex_;
  std::condition_variable done_;
  std::map<int, std::vector<std::int32_t>> tokens_;
  std::map<int, FinishReason> reasons_;
  std::string error_;
};

SessionOptions small_session() {
  SessionOptions options;
  options.max_step_tokens = 8;
  options.max_sequences = 4;
  options.max_sequence_length = 64;
  options.tokens_per_block = 4;
  return options;
}

struct Harness {
  FakeSession* session;
  std::unique_ptr<Executor> executor;

  explicit Harness(std::int64_t blocks = 64, ExecutorOptions options = {}) {
    auto fake = std::make_unique<FakeSession>(small_session(), blocks);
    session = fake.get();
    executor = std::make_unique<Executor>(std::move(fake), options);
  }
  std::pair<RequestId, std::shared_ptr<Recorder>> send(std::vector<std::int32_t> prompt, int tokens,
                                                       std::shared_ptr<Recorder> sink = nullptr) {
    if (!sink) sink = std::make_shared<Recorder>();
    Request request;
    request.input_ids = std::move(prompt);
    request.sampling.max_tokens = tokens;
    request.sink = sink;
    return {executor->enqueue(std::move(request)), sink};
  }
  void expect_all_free() {
    for (int tries = 0; tries < 1000; ++tries) {
      const ExecutorStatistics stats = executor->statistics();
      if (stats.running == 0 && stats.waiting == 0 && stats.free_blocks == stats.total_blocks)
        return;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    FAIL() << "blocks are still held: " << executor->statistics().free_blocks << " of "
           << executor->statistics().total_blocks;
  }
};

TEST(Executor, GeneratesUpToTheLimit) {
  Harness harness;
  auto [id, sink] = harness.send({5, 6, 7}, 4);
  EXPECT_EQ(sink->wait(), FinishReason::kLength);
  EXPECT_EQ(sink->tokens(), (std::vector<std::int32_t>{8, 9, 10, 11}));
  harness.expect_all_free();
}

TEST(Executor, LongPromptsRunInChunksBesideDecodes) {
  Harness harness;
  std::vector<std::int32_t> prompt(40, 3);
  auto [a, first] = harness.send({1}, 20);
  auto [b, second] = harness.send(prompt, 3);
  EXPECT_EQ(first->wait(), FinishReason::kLength);
  EXPECT_EQ(second->wait(), FinishReason::kLength);
  EXPECT_EQ(second->tokens(), (std::vector<std::int32_t>{4, 5, 6}));
  harness.expect_all_free();
}

TEST(Executor, EndIdsAndStopTokensAndVerdictsEndASequence) {
  Harness harness;
  auto sink = std::make_shared<Recorder>();
  Request request;
  request.input_ids = {10};
  request.end_ids = {13};
  request.sink = sink;
  harness.executor->enqueue(request);
  EXPECT_EQ(sink->wait(), FinishReason::kEndId);
  EXPECT_EQ(sink->tokens(), (std::vector<std::int32_t>{11, 12, 13}));

  request.sampling.stop_token_ids = {12};
  request.sink = sink = std::make_shared<Recorder>();
  harness.executor->enqueue(request);
  EXPECT_EQ(sink->wait(), FinishReason::kStopWords);

  request.sink = sink = std::make_shared<Recorder>();
  request.sampling.stop_token_ids.clear();
  request.sampling.min_tokens = 5;
  request.sampling.max_tokens = 6;
  harness.executor->enqueue(request);
  EXPECT_EQ(sink->wait(), FinishReason::kLength) << "13 comes before min_tokens";

  sink = std::make_shared<Recorder>();
  sink->stop_after = 2;
  harness.send({1}, 10, sink);
  EXPECT_EQ(sink->wait(), FinishReason::kStopWords);
  harness.expect_all_free();
}

TEST(Executor, AThrowingSinkEndsItsRequestAlone) {
  Harness harness;
  auto bad = std::make_shared<Recorder>();
  bad->throws = true;
  harness.send({1, 2}, 10, bad);
  auto [id, good] = harness.send({1, 2}, 10);
  EXPECT_EQ(bad->wait(), FinishReason::kError);
  EXPECT_NE(bad->error().find("does not like it"), std::string::npos);
  EXPECT_EQ(good->wait(), FinishReason::kLength);
  harness.expect_all_free();
}

TEST(Executor, AFailedStepEndsItsRequestsAndTheNextOnesRun) {
  Harness harness;
  harness.session->fail_at_step = 3;
  auto [a, failed] = harness.send({1}, 30);
  EXPECT_EQ(failed->wait(), FinishReason::kError);
  EXPECT_NE(failed->error().find("[fake]"), std::string::npos);
  auto [b, next] = harness.send({1}, 3);
  EXPECT_EQ(next->wait(), FinishReason::kLength);
  harness.expect_all_free();
}

TEST(Executor, RefusesWrongRequestsNamingTheField) {
  Harness harness;
  const auto refused = [&](auto change, const char* field) {
    Request request;
    request.input_ids = {1};
    request.sink = std::make_shared<Recorder>();
    change(request);
    try {
      harness.executor->enqueue(request);
      ADD_FAILURE() << field << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument) << field;
      EXPECT_NE(std::string(error.what()).find(field), std::string::npos) << error.what();
    }
  };
  refused([](Request& r) { r.input_ids.clear(); }, "input_ids");
  refused([](Request& r) { r.input_ids = {100}; }, "input_ids");
  refused([](Request& r) { r.input_ids = {-1}; }, "input_ids");
  refused([](Request& r) { r.input_ids.assign(64, 1); }, "input_ids");
  refused([](Request& r) { r.sampling.temperature = NAN; }, "temperature");
  refused([](Request& r) { r.sampling.temperature = -1; }, "temperature");
  refused([](Request& r) { r.sampling.top_p = 1.5F; }, "top_p");
  refused([](Request& r) { r.sampling.top_k = -2; }, "top_k");
  refused([](Request& r) { r.sampling.n = 0; }, "n");
  refused([](Request& r) { r.sampling.max_tokens = 0; }, "max_tokens");
  refused([](Request& r) { r.sampling.max_tokens = 64; }, "max_tokens");
  refused([](Request& r) { r.sampling.stop = {""}; }, "stop");
  refused([](Request& r) { r.context_logits = true; }, "context_logits");
  refused([](Request& r) { r.sink = nullptr; }, "sink");
  harness.expect_all_free();
}

TEST(Executor, AFullQueueRefuses) {
  Harness harness(/*blocks=*/4, {.max_queue = 2});
  std::vector<std::shared_ptr<Recorder>> accepted;
  bool refused = false;
  for (int i = 0; i < 200 && !refused; ++i) {
    try {
      accepted.push_back(harness.send({1}, 15).second);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kResourceExhausted);
      refused = true;
    }
  }
  EXPECT_TRUE(refused);
  for (auto& sink : accepted) EXPECT_EQ(sink->wait(), FinishReason::kLength);
}

TEST(Executor, SeveralSamplesOfOneRequest) {
  Harness harness;
  auto sink = std::make_shared<Recorder>(3);
  Request request;
  request.input_ids = {7};
  request.sampling.n = 3;
  request.sampling.max_tokens = 2;
  request.sink = sink;
  harness.executor->enqueue(request);
  EXPECT_EQ(sink->wait(), FinishReason::kLength);
  for (int sample = 0; sample < 3; ++sample)
    EXPECT_EQ(sink->tokens(sample), (std::vector<std::int32_t>{8, 9}));
}

TEST(Executor, ShutdownCancelsWhatRuns) {
  auto harness = std::make_unique<Harness>();
  std::vector<std::shared_ptr<Recorder>> sinks;
  for (int i = 0; i < 20; ++i) sinks.push_back(harness->send({1}, 60).second);
  harness.reset();
  for (auto& sink : sinks) {
    const FinishReason reason = sink->wait();
    EXPECT_TRUE(reason == FinishReason::kCancelled || reason == FinishReason::kLength);
  }
}

TEST(Executor, ManyThreadsSubmitAndCancel) {
  Harness harness(/*blocks=*/24, {.max_queue = 100000});
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      std::mt19937 random(static_cast<unsigned>(t));
      std::vector<std::shared_ptr<Recorder>> sinks;
      for (int i = 0; i < 100; ++i) {
        const int length = 1 + static_cast<int>(random() % 12);
        const int tokens = 1 + static_cast<int>(random() % 20);
        auto [id, sink] =
            harness.send(std::vector<std::int32_t>(static_cast<std::size_t>(length), t), tokens);
        if (random() % 4 == 0) harness.executor->cancel(id);
        sinks.push_back(sink);
      }
      for (auto& sink : sinks) {
        const FinishReason reason = sink->wait();
        EXPECT_TRUE(reason == FinishReason::kLength || reason == FinishReason::kCancelled);
        const auto made = sink->tokens();
        for (std::size_t i = 0; i < made.size(); ++i)
          EXPECT_EQ(made[i], (t + 1 + static_cast<int>(i)) % 100);
      }
    });
  for (std::thread& thread : threads) thread.join();
  harness.expect_all_free();
  EXPECT_EQ(harness.executor->statistics().finished_requests, 800U);
}

}  // namespace
}  // namespace tenon
