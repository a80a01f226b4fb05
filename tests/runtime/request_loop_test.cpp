// The request loop under its callers: many threads at once, limits, shutdown at every moment, sinks
// that throw, a session that breaks.
// SPDX-License-Identifier: Apache-2.0
#include "runtime/request_loop.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <random>

#include "failing_new.h"
#include "fake_session.h"

namespace tenon {
namespace {

using namespace std::chrono_literals;
using test::expected_output;
using test::FakeSession;

constexpr std::int64_t kVocab = 24;

/// Written by the loop's thread, read by others once it has ended.
class Client : public RequestSink {
 public:
  enum class Method {
    kNone,
    kTokens,
    kPromptLogprobs,
    kLogits,
    kEmbedding,
    kOutput,
    kBeam,
    kTiming,
    kFinish
  };
  explicit Client(int samples = 1, Method thrower = Method::kNone)
      : samples_(samples), thrower_(thrower) {}

  Verdict on_tokens(int sample, const SequenceResult& result) override {
    EXPECT_EQ(ends.count(sample), 0U) << "tokens after the end";
    auto& mine = tokens[sample];
    mine.insert(mine.end(), result.tokens.begin(), result.tokens.end());
    if (on_first) std::exchange(on_first, {})();
    may_throw(Method::kTokens);
    return Verdict::kContinue;
  }
  void on_prompt_logprobs(std::int64_t, const SequenceResult&) override {
    may_throw(Method::kPromptLogprobs);
  }
  void on_logits(int, std::int64_t, std::span<const float>, std::int64_t) override {
    may_throw(Method::kLogits);
  }
  void on_embedding(std::span<const float>) override { may_throw(Method::kEmbedding); }
  void on_output(const std::string&, const Tensor&) override { may_throw(Method::kOutput); }
  void on_beam(int beam, const SequenceResult& result, float) override {
    tokens[beam] = result.tokens;
    may_throw(Method::kBeam);
  }
  void on_timing(const RequestTiming& told) override {
    timing = told;
    may_throw(Method::kTiming);
  }
  void on_finish(int sample, FinishReason reason, const Error* error) override {
    {
      const std::lock_guard lock(mutex_);
      ++ends[sample];
      reasons[sample] = reason;
      if (error != nullptr) message = error->what();
    }
    ended_.notify_all();
    may_throw(Method::kFinish);
  }
  /// False: it did not end in time.
  bool wait(std::chrono::seconds limit = 60s) {
    std::unique_lock lock(mutex_);
    return ended_.wait_for(lock, limit,
                           [this] { return static_cast<int>(ends.size()) == samples_; });
  }

  std::function<void()> on_first;
  std::map<int, std::vector<std::int32_t>> tokens;
  std::map<int, int> ends;
  std::map<int, FinishReason> reasons;
  RequestTiming timing;
  std::string message;
  std::atomic<int> threw{0};

 private:
  void may_throw(Method here) {
    if (here != thrower_) return;
    if (++threw % 2 == 0) throw 5;
    throw std::runtime_error("the caller's fault");
  }
  int samples_;
  Method thrower_;
  std::mutex mutex_;
  std::condition_variable ended_;
};

/// What tests do to the session while it runs.
struct Control {
  std::atomic<bool> broken{false};
  std::atomic<bool> held{false};  ///< steps wait for as long as it is
  std::atomic<int> microseconds{0};

  void at_step(const Batch&) {
    while (held) std::this_thread::sleep_for(50us);
    if (microseconds > 0) std::this_thread::sleep_for(std::chrono::microseconds(microseconds));
    if (broken) throw Error(ErrorCode::kIo, "the cable was pulled");
  }
};

class RequestLoopTest : public testing::Test {
 protected:
  std::unique_ptr<RequestLoop> make(const RequestLoopOptions& options = {},
                                    std::int64_t sequences = 8, std::int64_t blocks = 64) {
    SessionOptions limits;
    limits.max_sequences = sequences;
    limits.max_step_tokens = 48;
    limits.max_sequence_length = 256;
    limits.tokens_per_block = 8;
    auto session = std::make_unique<FakeSession>(
        limits, FakeSession::Shape{.blocks = blocks, .vocab = kVocab});
    session->spy = [control = control_](const Batch& batch) { control->at_step(batch); };
    return std::make_unique<RequestLoop>(std::move(session), options);
  }
  static Request request(std::vector<std::int32_t> prompt, int tokens,
                         std::shared_ptr<Client> client) {
    Request request;
    request.input_ids = std::move(prompt);
    request.sampling.max_tokens = tokens;
    request.sink = std::move(client);
    return request;
  }
  static ErrorCode refusal(RequestLoop& loop, std::string& message) {
    try {
      loop.enqueue(request({1, 2, 3}, 4, std::make_shared<Client>()));
    } catch (const Error& error) {
      message = error.what();
      return error.code();
    }
    ADD_FAILURE() << "the request was taken";
    return ErrorCode::kCorrupt;
  }
  void TearDown() override { control_->held = false; }

  std::shared_ptr<Control> control_ = std::make_shared<Control>();
};

TEST_F(RequestLoopTest, OneRequest) {
  auto loop = make();
  const auto client = std::make_shared<Client>();
  EXPECT_GT(loop->enqueue(request({1, 2, 3}, 20, client)), 0U);
  ASSERT_TRUE(client->wait());
  EXPECT_EQ(client->tokens[0], expected_output({1, 2, 3}, 20, kVocab));
  EXPECT_EQ(loop->health().state, ExecutorHealth::State::kReady);
}

/// A sink that waits for its own thread would wait for ever.
TEST_F(RequestLoopTest, DrainAndStopInASinkAreRefusedAndChangeNothing) {
  auto loop = make();
  const auto client = std::make_shared<Client>();
  std::vector<std::string> refused;
  client->on_first = [&] {
    for (const int method : {0, 1, 2}) try {
        if (method == 0) loop->drain();
        if (method == 1) loop->drain(0.5);
        if (method == 2) loop->stop();
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
        refused.emplace_back(error.what());
      }
  };
  loop->enqueue(request({1, 2, 3}, 20, client));
  ASSERT_TRUE(client->wait());
  EXPECT_EQ(client->tokens[0].size(), 20U);
  ASSERT_EQ(refused.size(), 3U);
  EXPECT_NE(refused[0].find("drain()"), std::string::npos);
  EXPECT_NE(refused[2].find("call it from another thread"), std::string::npos) << refused[2];
  EXPECT_EQ(loop->health().state, ExecutorHealth::State::kReady);
  const auto next = std::make_shared<Client>();
  loop->enqueue(request({4, 5}, 3, next));
  EXPECT_TRUE(next->wait());
}

TEST_F(RequestLoopTest, ASinkMayEnqueueAndCancel) {
  auto loop = make();
  const auto first = std::make_shared<Client>();
  const auto second = std::make_shared<Client>();
  const auto third = std::make_shared<Client>();
  const RequestId endless = loop->enqueue(request({7}, 200, third));
  first->on_first = [&] {
    loop->enqueue(request({4, 5}, 3, second));
    loop->cancel(endless);
  };
  loop->enqueue(request({1, 2, 3}, 20, first));
  ASSERT_TRUE(first->wait());
  ASSERT_TRUE(second->wait());
  ASSERT_TRUE(third->wait());
  EXPECT_EQ(second->tokens[0], expected_output({4, 5}, 3, kVocab));
}

/// Samples of one request, and sequences that were paused, wait for no place in the queue.
TEST_F(RequestLoopTest, TheQueueHoldsRequestsHoweverManySamplesTheyHave) {
  RequestLoopOptions options;
  options.max_queue = 3;
  auto loop = make(options, /*sequences=*/2);
  const auto many = std::make_shared<Client>(8);
  Request samples = request({1, 2, 3}, 30, many);
  samples.sampling.n = 8;
  many->on_first = [this] { control_->held = true; };  // its samples wait from the next step on
  loop->enqueue(std::move(samples));
  while (!control_->held || loop->statistics().waiting_sequences < 6) std::this_thread::yield();
  ExecutorStatistics statistics = loop->statistics();
  EXPECT_EQ(statistics.queued_requests, 0);
  EXPECT_EQ(statistics.active_requests, 1);
  EXPECT_EQ(statistics.running_sequences + statistics.waiting_sequences, 8);
  std::vector<std::shared_ptr<Client>> others;
  for (int i = 0; i < 3; ++i) {
    others.push_back(std::make_shared<Client>());
    loop->enqueue(request({4, i}, 3, others.back()));
  }
  EXPECT_EQ(loop->statistics().queued_requests, 3);
  std::string message;
  EXPECT_EQ(refusal(*loop, message), ErrorCode::kResourceExhausted);
  EXPECT_NE(message.find("3 requests wait"), std::string::npos) << message;
  EXPECT_FALSE(loop->await_room(1, 0.01));
  control_->held = false;
  EXPECT_TRUE(loop->await_room(1, 60));
  for (const auto& one : others) EXPECT_TRUE(one->wait());
  EXPECT_TRUE(many->wait());
  ASSERT_TRUE(loop->drain(60));
  statistics = loop->statistics();
  EXPECT_EQ(statistics.queued_requests + statistics.active_requests, 0);
}

/// An hour without requests is no hour without a step.
TEST_F(RequestLoopTest, HealthDoesNotCountTimeInWhichNothingWasAsked) {
  auto loop = make();
  const auto first = std::make_shared<Client>();
  loop->enqueue(request({1}, 1, first));
  ASSERT_TRUE(first->wait());
  std::this_thread::sleep_for(300ms);
  control_->held = true;
  const auto second = std::make_shared<Client>();
  const auto asked = std::chrono::steady_clock::now();
  loop->enqueue(request({2}, 1, second));
  const double ago = loop->health().last_step_seconds_ago;
  EXPECT_LE(ago, std::chrono::duration<double>(std::chrono::steady_clock::now() - asked).count());
  std::this_thread::sleep_for(300ms);
  EXPECT_GT(loop->health().last_step_seconds_ago, 0.2) << "a step that hangs";
  control_->held = false;
  EXPECT_TRUE(second->wait());
}

TEST_F(RequestLoopTest, WaitsOfAnyLengthDoNotOverflow) {
  auto loop = make();
  const auto client = std::make_shared<Client>();
  loop->enqueue(request({1}, 3, client));
  EXPECT_TRUE(loop->drain(std::numeric_limits<double>::infinity()));
  EXPECT_TRUE(loop->drain(1e300));
  EXPECT_TRUE(loop->drain(std::numeric_limits<double>::quiet_NaN())) << "it is idle";
}

class Threads : public RequestLoopTest, public testing::WithParamInterface<int> {};

TEST_P(Threads, EnqueueCancelAndAskAtRandom) {
  RequestLoopOptions options;
  options.steps.policy = SchedulerPolicy::kMaxUtilization;
  options.steps.cache_events = 64;
  options.max_queue = 40;
  auto loop = make(options, 8, 40);
  const int threads = GetParam();
  const int each = 640 / threads;
  struct Sent {
    std::shared_ptr<Client> client;
    std::vector<std::int32_t> prompt;
    int tokens = 0;
    int samples = 1;
    bool thrower = false;
  };
  std::vector<std::vector<Sent>> all(static_cast<std::size_t>(threads));
  std::atomic<std::uint64_t> refused{0};
  std::atomic<RequestId> newest{0};
  const auto work = [&](int number) {
    std::mt19937 random(static_cast<unsigned>(number));
    for (int i = 0; i < each; ++i) {
      Sent sent;
      for (unsigned t = 1 + random() % 40; t > 0; --t)
        sent.prompt.push_back(static_cast<std::int32_t>(t % 5 + random() % 3));
      sent.tokens = 1 + static_cast<int>(random() % 12);
      sent.samples = random() % 4 == 0 ? 3 : 1;
      sent.thrower = random() % 8 == 0;
      const auto method = static_cast<Client::Method>(1 + random() % 8);
      sent.client =
          std::make_shared<Client>(sent.samples, sent.thrower ? method : Client::Method::kNone);
      Request one = request(sent.prompt, sent.tokens, sent.client);
      one.sampling.n = sent.samples;
      one.options.priority = static_cast<double>(random() % 11) / 10;
      if (random() % 9 == 0) one.options.total_seconds = 0.001;
      if (random() % 9 == 0) one.options.queue_seconds = 0.001;
      try {
        const RequestId id = loop->enqueue(std::move(one));
        newest = id;
        all[static_cast<std::size_t>(number)].push_back(sent);
        if (random() % 4 == 0) loop->cancel(id);
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kResourceExhausted) << error.what();
        ++refused;
        sent.client.reset();
        std::this_thread::sleep_for(200us);
      }
      if (random() % 5 == 0) loop->cancel(newest - random() % 3, static_cast<int>(random() % 3));
      if (random() % 5 == 0) {
        EXPECT_EQ(loop->health().state, ExecutorHealth::State::kReady);
      }
      if (random() % 5 == 0) loop->take_iteration_statistics();
      if (random() % 5 == 0) loop->take_cache_events();
      if (random() % 5 == 0) {
        EXPECT_LE(loop->statistics().running_sequences, 8);
      }
    }
  };
  std::vector<std::thread> workers;
  for (int t = 0; t < threads; ++t) workers.emplace_back(work, t);
  for (std::thread& worker : workers) worker.join();
  ASSERT_TRUE(loop->drain(60));
  std::uint64_t taken = 0;
  for (const std::vector<Sent>& mine : all)
    for (const Sent& sent : mine) {
      ++taken;
      for (int s = 0; s < sent.samples; ++s) {
        EXPECT_EQ(sent.client->ends[s], 1);
        const auto expected = expected_output(sent.prompt, sent.tokens, kVocab);
        const auto& got = sent.client->tokens[s];
        ASSERT_LE(got.size(), expected.size());
        EXPECT_TRUE(std::equal(got.begin(), got.end(), expected.begin()));
        if (sent.client->reasons[s] == FinishReason::kLength) {
          EXPECT_EQ(got, expected);
        }
        EXPECT_TRUE(sent.thrower || sent.client->reasons[s] != FinishReason::kError);
      }
    }
  const ExecutorStatistics statistics = loop->statistics();
  EXPECT_EQ(statistics.finished_requests, taken);
  EXPECT_EQ(statistics.refused_requests, refused);
  EXPECT_EQ(statistics.kv_cache.used_blocks, 0);
  EXPECT_EQ(statistics.running_sequences, 0);
  EXPECT_EQ(statistics.waiting_sequences, 0);
  EXPECT_EQ(statistics.queued_requests, 0);
  EXPECT_EQ(statistics.active_requests, 0);
}

INSTANTIATE_TEST_SUITE_P(Counts, Threads, testing::Values(2, 16, 64));

TEST_F(RequestLoopTest, StoppedByOneWhileOthersEnqueue) {
  for (int round = 0; round < 20; ++round) {
    auto loop = make();
    std::vector<std::thread> threads;
    std::vector<std::vector<std::shared_ptr<Client>>> sent(6);
    for (std::size_t t = 0; t < sent.size(); ++t)
      threads.emplace_back([&, t] {
        for (int i = 0; i < 30; ++i) {
          auto client = std::make_shared<Client>();
          try {
            loop->enqueue(request({1, 2, i % 20}, 30, client));
            sent[t].push_back(client);
          } catch (const Error& error) {
            EXPECT_EQ(error.code(), ErrorCode::kCancelled) << error.what();
          }
        }
      });
    for (int stopper = 0; stopper < 2; ++stopper)
      threads.emplace_back([&] {
        std::this_thread::sleep_for(std::chrono::microseconds(round * 60));
        loop->stop();
      });
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(loop->health().state, ExecutorHealth::State::kStopped);
    for (const auto& mine : sent)
      for (const auto& client : mine) EXPECT_EQ(client->ends[0], 1);
    EXPECT_EQ(loop->statistics().kv_cache.used_blocks, 0);
    EXPECT_TRUE(loop->drain());
  }
}

TEST_F(RequestLoopTest, DestroyedWithRequestsInFlight) {
  std::vector<std::shared_ptr<Client>> clients;
  {
    auto loop = make({}, /*sequences=*/3);
    control_->microseconds = 500;
    for (int i = 0; i < 9; ++i) {
      clients.push_back(std::make_shared<Client>());
      loop->enqueue(request({i, 2}, 200, clients.back()));
    }
    while (loop->statistics().generated_tokens < 4) std::this_thread::sleep_for(100us);
  }
  for (const auto& client : clients) {
    EXPECT_EQ(client->ends[0], 1);
    EXPECT_EQ(client->reasons[0], FinishReason::kCancelled);
  }
  EXPECT_FALSE(clients[0]->tokens[0].empty()) << "what it had is kept";
}

TEST_F(RequestLoopTest, DrainsOrSaysThatItHasNot) {
  auto loop = make();
  const auto client = std::make_shared<Client>();
  control_->held = true;
  loop->enqueue(request({1, 2, 3}, 5, client));
  EXPECT_FALSE(loop->drain(0.02));
  EXPECT_EQ(loop->health().state, ExecutorHealth::State::kDraining);
  EXPECT_GT(loop->health().last_step_seconds_ago, 0.01);
  std::string message;
  EXPECT_EQ(refusal(*loop, message), ErrorCode::kCancelled);
  control_->held = false;
  EXPECT_TRUE(loop->drain());
  EXPECT_EQ(client->reasons[0], FinishReason::kLength);
  EXPECT_TRUE(loop->drain(0.0)) << "nothing is left";
}

TEST_F(RequestLoopTest, AFullQueueRefusesAndSaysHowLong) {
  RequestLoopOptions options;
  options.max_queue = 5;
  auto loop = make(options, /*sequences=*/2);
  const auto first = std::make_shared<Client>();
  loop->enqueue(request({1}, 2, first));
  ASSERT_TRUE(first->wait());
  control_->held = true;
  std::vector<std::shared_ptr<Client>> clients;
  const auto send = [&] {
    clients.push_back(std::make_shared<Client>());
    loop->enqueue(request({1, 2}, 40, clients.back()));
  };
  send();
  send();
  // The step with these two is held; whatever comes now waits.
  std::this_thread::sleep_for(5ms);
  int taken = 0;
  try {
    for (; taken < 20; ++taken) send();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kResourceExhausted);
    EXPECT_NE(std::string(error.what()).find("max_queue_size 5"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("requests/s"), std::string::npos) << error.what();
  }
  EXPECT_LE(taken, 5);
  EXPECT_GE(taken, 2);
  clients.pop_back();
  control_->held = false;
  for (const auto& client : clients) EXPECT_TRUE(client->wait());
  EXPECT_TRUE(loop->drain());
}

TEST_F(RequestLoopTest, TokensThatWaitAreLimitedToo) {
  RequestLoopOptions options;
  options.max_queue_tokens = 100;
  auto loop = make(options, /*sequences=*/1);
  control_->held = true;
  std::vector<std::shared_ptr<Client>> clients;
  const auto send = [&] {
    clients.push_back(std::make_shared<Client>());
    loop->enqueue(request(std::vector<std::int32_t>(30, 3), 3, clients.back()));
  };
  const auto refused = [&] {
    try {
      send();
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("limit 100"), std::string::npos) << error.what();
      clients.pop_back();
      return error.code() == ErrorCode::kResourceExhausted;
    }
    return false;
  };
  int taken = 0;
  while (taken < 20 && !refused()) ++taken;
  EXPECT_GE(taken, 3);
  EXPECT_LE(taken, 4) << "one may run, three of 30 tokens may wait";
  control_->held = false;
  for (const auto& client : clients) ASSERT_TRUE(client->wait());
  while (loop->statistics().finished_requests < clients.size()) std::this_thread::sleep_for(100us);
  EXPECT_FALSE(refused()) << "nothing waits any more";
  EXPECT_TRUE(loop->drain(60));
}

TEST_F(RequestLoopTest, TimeLimitsOfRequestsAndOfTheLoop) {
  RequestLoopOptions options;
  options.queue_seconds = 0.02;
  auto loop = make(options, /*sequences=*/1);
  control_->microseconds = 1000;
  const auto hog = std::make_shared<Client>();
  const auto queued = std::make_shared<Client>();
  const auto patient = std::make_shared<Client>();
  Request first = request({1, 2}, 200, hog);
  first.options.total_seconds = 0.08;
  loop->enqueue(std::move(first));
  loop->enqueue(request({1, 3}, 10, queued));
  Request last = request({1, 4}, 5, patient);
  last.options.queue_seconds = 30;
  loop->enqueue(std::move(last));
  for (const auto& client : {hog, queued, patient}) ASSERT_TRUE(client->wait());
  EXPECT_TRUE(loop->drain(60));
  EXPECT_EQ(hog->reasons[0], FinishReason::kTimedOut);
  EXPECT_LT(hog->tokens[0].size(), 200U);
  EXPECT_EQ(queued->reasons[0], FinishReason::kTimedOut);
  EXPECT_TRUE(queued->tokens[0].empty());
  EXPECT_GE(queued->timing.queued_seconds, 0.02);
  EXPECT_EQ(patient->tokens[0], expected_output({1, 4}, 5, kVocab));
  EXPECT_EQ(loop->statistics().timed_out_requests, 2U);
}

TEST_F(RequestLoopTest, SinksMayThrowFromEveryMethod) {
  using Method = Client::Method;
  auto loop = make();
  for (const Method method :
       {Method::kTokens, Method::kPromptLogprobs, Method::kLogits, Method::kEmbedding,
        Method::kOutput, Method::kBeam, Method::kTiming, Method::kFinish}) {
    for (int round = 0; round < 2; ++round) {  // a std::exception, and something else
      const auto good = std::make_shared<Client>();
      const bool beams = method == Method::kBeam;
      const auto rude = std::make_shared<Client>(beams ? 2 : 1, method);
      if (round > 0) rude->threw = 1;
      loop->enqueue(request({4, 5, 6}, 12, good));
      Request one = request({1, 2, 3}, 6, rude);
      one.sampling.beam_width = beams ? 2 : 1;
      one.sampling.n = beams ? 2 : 1;
      if (method == Method::kPromptLogprobs) one.sampling.prompt_logprobs = 1;
      one.generation_logits = method == Method::kLogits;
      one.embedding = method == Method::kEmbedding;
      if (method == Method::kOutput) one.taps = {"logits"};
      loop->enqueue(std::move(one));
      ASSERT_TRUE(good->wait());
      ASSERT_TRUE(rude->wait()) << static_cast<int>(method);
      EXPECT_GT(rude->threw, round);
      EXPECT_EQ(rude->ends[0], 1);
      EXPECT_EQ(good->tokens[0], expected_output({4, 5, 6}, 12, kVocab));
      const bool ends_well =
          method == Method::kBeam || method == Method::kTiming || method == Method::kFinish;
      EXPECT_EQ(rude->reasons[0] == FinishReason::kError, !ends_well) << static_cast<int>(method);
    }
  }
  EXPECT_TRUE(loop->drain(60));
  EXPECT_EQ(loop->statistics().kv_cache.used_blocks, 0);
}

TEST_F(RequestLoopTest, SinksMayCallTheLoop) {
  auto loop = make();
  const auto second = std::make_shared<Client>();
  const auto first = std::make_shared<Client>();
  RequestId id = 0;
  std::atomic<bool> known{false};
  first->on_first = [&] {
    while (!known) std::this_thread::yield();
    loop->enqueue(request({2, 2}, 3, second));
    EXPECT_EQ(loop->health().state, ExecutorHealth::State::kReady);
    EXPECT_EQ(loop->statistics().failed_requests, 0U);
    loop->cancel(id);
  };
  id = loop->enqueue(request({1, 2}, 200, first));
  known = true;
  ASSERT_TRUE(first->wait());
  ASSERT_TRUE(second->wait());
  EXPECT_EQ(first->reasons[0], FinishReason::kCancelled);
  EXPECT_EQ(second->tokens[0], expected_output({2, 2}, 3, kVocab));
}

TEST_F(RequestLoopTest, ABrokenSessionIsReportedAndTakesNothingMore) {
  auto loop = make();
  control_->microseconds = 100;
  std::vector<std::shared_ptr<Client>> clients;
  for (int i = 0; i < 12; ++i) {
    clients.push_back(std::make_shared<Client>());
    loop->enqueue(request({i, 2}, 100, clients.back()));
  }
  control_->broken = true;
  for (const auto& client : clients) {
    ASSERT_TRUE(client->wait());
    EXPECT_EQ(client->reasons[0], FinishReason::kError);
    EXPECT_NE(client->message.find("cable"), std::string::npos) << client->message;
  }
  for (int i = 0; i < 1000 && loop->health().state != ExecutorHealth::State::kFailed; ++i)
    std::this_thread::sleep_for(1ms);
  EXPECT_EQ(loop->health().state, ExecutorHealth::State::kFailed);
  EXPECT_NE(loop->health().message.find("cable"), std::string::npos);
  std::string message;
  EXPECT_EQ(refusal(*loop, message), ErrorCode::kInternal);
  EXPECT_NE(message.find("load it again"), std::string::npos) << message;
  EXPECT_TRUE(loop->drain(60));
  EXPECT_EQ(loop->statistics().kv_cache.used_blocks, 0);
  for (const auto& client : clients) EXPECT_EQ(client->ends[0], 1);
}

TEST_F(RequestLoopTest, AnyAllocationOfEnqueueMayFail) {
  auto loop = make();
  std::uint64_t refused = 0;
  for (std::int64_t n = 0;; ++n) {
    ASSERT_LT(n, 200);
    const auto client = std::make_shared<Client>(2);
    Request one = request({1, 2, 3}, 4, client);
    one.sampling.n = 2;
    bool thrown = false;
    try {
      const test::FailingNew fault(n);
      loop->enqueue(std::move(one));
    } catch (const std::bad_alloc&) {
      thrown = true;
    }
    if (!thrown) {
      ASSERT_TRUE(client->wait());
      EXPECT_EQ(client->tokens[1], expected_output({1, 2, 3}, 4, kVocab));
      break;
    }
    ++refused;
    EXPECT_TRUE(client->ends.empty()) << "it was refused and ran";
  }
  EXPECT_GE(refused, 1U);
  EXPECT_TRUE(loop->drain(60));
  EXPECT_EQ(loop->statistics().refused_requests, refused);
  EXPECT_EQ(loop->statistics().finished_requests, 1U);
}

}  // namespace
}  // namespace tenon
