// What becomes of requests when a worker process goes away under them, or a device is lost to this
// process.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>

#include "fake_session.h"
#include "recorder.h"
#include "runtime/step_runner.h"

namespace tenon {
namespace {

using test::expected_output;
using test::FakeSession;
using test::Recorder;

constexpr std::int32_t kPoison = 99;  // never drawn: beyond the vocabulary

SessionOptions limits() {
  SessionOptions options;
  options.max_sequences = 8;
  options.max_step_tokens = 16;
  options.max_sequence_length = 256;
  options.tokens_per_block = 8;
  return options;
}

bool has_poison(const Batch& batch) {
  return std::find(batch.token_ids.begin(), batch.token_ids.end(), kPoison) !=
         batch.token_ids.end();
}

/// Once its worker is gone every step fails, until one was prepared after somebody was told.
class LosingSession : public FakeSession {
 public:
  using FakeSession::FakeSession;

  void prepare(const Batch& batch) override {
    if (told_) gone_ = told_ = prepared_poison = false;
    prepared_poison = prepared_poison || has_poison(batch);
    FakeSession::prepare(batch);
  }
  std::shared_ptr<StepHandle> sample(const LateInputs& late) override {
    return std::make_shared<Handle>(*this, FakeSession::sample(late));
  }
  std::uint64_t lost_workers() const override { return lost; }
  bool device_lost() const override { return device_gone; }

  /// What runs does not end.
  [[noreturn]] void lose() {
    gone_ = true;
    ++lost;
    throw Error(ErrorCode::kInternal, "the worker process is gone");
  }
  bool gone() const { return gone_; }
  std::uint64_t lost = 0;
  bool device_gone = false;
  bool prepared_poison = false;  ///< since the worker was started

 private:
  class Handle : public StepHandle {
   public:
    Handle(LosingSession& session, std::shared_ptr<StepHandle> inner)
        : session_(session), inner_(std::move(inner)) {}
    bool ready() const override { return inner_->ready(); }
    const StepResult& wait() override {
      try {
        return inner_->wait();
      } catch (...) {
        session_.told_ = session_.gone_;
        throw;
      }
    }

   private:
    LosingSession& session_;
    std::shared_ptr<StepHandle> inner_;
  };

  bool gone_ = false;
  bool told_ = false;
};

struct Bench {
  std::shared_ptr<Recorder> add(std::vector<std::int32_t> prompt, std::int64_t new_tokens) {
    auto recorder = std::make_shared<Recorder>();
    Request request;
    request.input_ids = std::move(prompt);
    request.sink = recorder;
    runner.add(++ids, std::make_shared<const Request>(std::move(request)), 7, new_tokens, 0);
    return recorder;
  }
  void lose_where(std::function<bool(const Batch&)> when) {
    session.spy = [this, when = std::move(when)](const Batch& batch) {
      if (session.gone()) throw Error(ErrorCode::kInternal, "the worker process is gone");
      if (when(batch)) session.lose();
    };
  }
  void run() {
    for (int i = 0; i < 5000 && runner.busy(); ++i) runner.iterate([this] { return now += 1e-3; });
    ASSERT_FALSE(runner.busy()) << "it never ends";
    EXPECT_EQ(runner.cache().statistics().used_blocks, 0);
    EXPECT_EQ(runner.statistics().lost_workers, session.lost);
  }

  LosingSession session{limits(), FakeSession::Shape{.vocab = 90}};
  StepRunner runner{session, {}};
  RequestId ids = 0;
  double now = 0;
};

TEST(LostWorker, WhoWasAloneMayTryAgain) {
  for (const int step : {1, 2, 3, 10}) {
    Bench bench;
    const auto one = bench.add({1, 2, 3}, 20);
    bench.lose_where([&](const Batch&) { return bench.session.steps == step; });
    bench.run();
    EXPECT_EQ(one->reasons.at(0), FinishReason::kLength);
    EXPECT_EQ(one->tokens[0], expected_output({1, 2, 3}, 20, 90));
    EXPECT_EQ(bench.session.lost, 1U);
  }
}

TEST(LostWorker, WhatRunsAfterALossIsWatchedUntilItHasRun) {
  Bench bench;
  bench.add({1, 2, 3}, 20);
  bench.add({4, 5}, 20);
  std::vector<bool> watched;
  bench.lose_where([&](const Batch& batch) {
    watched.push_back(batch.watched);
    return bench.session.steps == 4;
  });
  bench.run();
  ASSERT_GT(watched.size(), 10U);
  EXPECT_EQ(std::count(watched.begin(), watched.end(), true), 2) << "each of the two, once";
  EXPECT_FALSE(watched.front());
  EXPECT_FALSE(watched.back());
}

TEST(LostWorker, WhoBringsTheNextOneDownTooEndsAndTheOthersGoOn) {
  Bench bench;
  const auto good = bench.add({1, 2, 3}, 20);
  const auto bad = bench.add({4, kPoison}, 20);
  const auto other = bench.add({5, 6}, 20);
  bench.lose_where(has_poison);
  bench.run();
  EXPECT_EQ(good->tokens[0], expected_output({1, 2, 3}, 20, 90));
  EXPECT_EQ(other->tokens[0], expected_output({5, 6}, 20, 90));
  EXPECT_EQ(bad->reasons.at(0), FinishReason::kError);
  EXPECT_EQ(bad->message, "the worker process is gone");
  EXPECT_EQ(bench.session.lost, 2U);
  EXPECT_FALSE(bench.runner.failure());
}

/// The result of a step that ended before may never come: the process that ran it died of the next.
TEST(LostWorker, WhoeverRanInTheStepBeforeIsNotAtFault) {
  for (const std::int64_t head_start : {1, 2, 3, 4}) {
    Bench bench;
    const auto good = bench.add({1, 2, 3}, 20);
    for (std::int64_t i = 0; i < head_start; ++i)
      bench.runner.iterate([&bench] { return bench.now += 1e-3; });
    const auto bad = bench.add({4, kPoison}, 20);
    // Steps are run when somebody waits: one is issued behind the step that fails.
    bench.session.spy = [&](const Batch&) {
      if (bench.session.gone()) throw Error(ErrorCode::kInternal, "the worker process is gone");
      if (bench.session.prepared_poison) bench.session.lose();
    };
    bench.run();
    EXPECT_EQ(good->tokens[0], expected_output({1, 2, 3}, 20, 90));
    EXPECT_EQ(bad->reasons.at(0), FinishReason::kError);
    EXPECT_EQ(bench.session.lost, 2U);
  }
}

TEST(LostWorker, OneThatGoesAtEveryStepIsNotStartedForEver) {
  Bench bench;
  std::vector<std::shared_ptr<Recorder>> all;
  for (std::int32_t i = 0; i < 6; ++i) all.push_back(bench.add({i}, 5));
  bench.lose_where([](const Batch&) { return true; });
  bench.run();
  for (const auto& one : all) EXPECT_EQ(one->reasons.at(0), FinishReason::kError);
  EXPECT_TRUE(bench.runner.failure());
  EXPECT_LE(bench.session.lost, 4U);
}

/// Each load gives some tokens; without a limit there would be one for nearly every token.
TEST(LostWorker, OneThatGoesWheneverTwoRunTogetherIsNotStartedForEver) {
  Bench bench;
  const auto one = bench.add({1}, 200);
  const auto two = bench.add({2}, 200);
  bench.lose_where([](const Batch& batch) { return batch.sequences() > 1; });
  bench.run();
  EXPECT_LE(bench.session.lost, 3U);
  EXPECT_EQ(one->reasons.at(0), FinishReason::kError);
  EXPECT_EQ(two->reasons.at(0), FinishReason::kError);
}

TEST(LostWorker, AChunkThatRunsBeforeThePoisonDoesNotHideIt) {
  Bench bench;
  std::vector<std::int32_t> prompt(60, 7);
  prompt.back() = kPoison;
  const auto bad = bench.add(prompt, 5);
  bench.lose_where(has_poison);
  bench.run();
  EXPECT_EQ(bad->reasons.at(0), FinishReason::kError);
  EXPECT_EQ(bench.session.lost, 2U);
}

TEST(LostWorker, ALostDeviceEndsAllAtOnceWithTheFirstReason) {
  Bench bench;
  std::vector<std::shared_ptr<Recorder>> all;
  for (std::int32_t i = 0; i < 6; ++i) all.push_back(bench.add({i}, 50));
  int failed = 0;
  bench.session.spy = [&](const Batch&) {
    if (bench.session.steps < 10) return;
    bench.session.device_gone = true;
    throw Error(ErrorCode::kInternal,
                ++failed == 1 ? "[linear] an illegal memory access" : "whatever comes then");
  };
  bench.run();
  for (const auto& one : all) {
    EXPECT_EQ(one->reasons.at(0), FinishReason::kError);
    EXPECT_EQ(one->message, "[linear] an illegal memory access");
  }
  ASSERT_TRUE(bench.runner.failure());
  EXPECT_STREQ(bench.runner.failure()->what(), "[linear] an illegal memory access");
  EXPECT_LE(failed, 2);
  const auto late = bench.add({1}, 5);
  EXPECT_EQ(late->reasons.at(0), FinishReason::kError);
}

}  // namespace
}  // namespace tenon
