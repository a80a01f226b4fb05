// Faults at every place where one can happen: an allocation of the loop's thread that fails, a
// backend that throws. No request is lost, none ends twice, those that were not hit have the
// outputs they would have alone, and no block or slot is lost.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <string>

#include "failing_new.h"
#include "fake_session.h"
#include "quiet_sink.h"
#include "runtime/step_runner.h"

namespace tenon {
namespace {

using test::expected_output;
using test::FailingNew;
using test::FakeSession;
using test::QuietSink;

constexpr std::int64_t kVocab = 16;
constexpr std::int64_t kSlots = 6;
constexpr std::int64_t kEver = 1'000'000'000;

SessionOptions limits() {
  SessionOptions options;
  options.max_sequences = kSlots;
  options.max_step_tokens = 12;
  options.max_sequence_length = 64;
  options.tokens_per_block = 4;
  return options;
}

/// Calls of the session that may fail, one of them by order.
class FaultySession : public FakeSession {
 public:
  enum class Place { kNone, kPrepare, kForward, kSample, kRead, kRun, kHandle };
  using FakeSession::FakeSession;

  Place place = Place::kNone;
  int calls_before = 0;
  bool threw = false;

  void prepare(const Batch& batch) override {
    meet(Place::kPrepare);
    FakeSession::prepare(batch);
  }
  void forward() override {
    meet(Place::kForward);
    FakeSession::forward();
  }
  std::shared_ptr<StepHandle> sample(const LateInputs& late) override {
    meet(Place::kSample);
    return std::make_shared<Handle>(*this, FakeSession::sample(late));
  }
  Tensor read(std::string_view output) override {
    meet(Place::kRead);
    return FakeSession::read(output);
  }
  void meet(Place here) {
    if (here != place || calls_before-- > 0) return;
    place = Place::kNone;
    threw = true;
    switch (++thrown_ % 4) {
      case 0: throw Error(ErrorCode::kIo, "the cable was pulled");
      case 1: throw std::runtime_error("the cable was pulled");
      case 2: throw std::bad_alloc();
      default: throw 4;  // a plugin's worst
    }
  }

 private:
  class Handle : public StepHandle {
   public:
    Handle(FaultySession& session, std::shared_ptr<StepHandle> inner)
        : session_(session), inner_(std::move(inner)) {}
    bool ready() const override { return inner_->ready(); }
    const StepResult& wait() override {
      const StepResult& result = inner_->wait();
      session_.meet(Place::kHandle);
      return result;
    }

   private:
    FaultySession& session_;
    std::shared_ptr<StepHandle> inner_;
  };
  static inline int thrown_ = 0;
};

struct Options {
  SchedulerPolicy policy = SchedulerPolicy::kMaxUtilization;
  bool run_ahead = true;
  bool windows = false;
  std::int64_t events = 8;
};

class Bench {
 public:
  struct One {
    std::shared_ptr<QuietSink> sink;
    std::vector<std::int32_t> prompt;
    std::int64_t count = 0;
    int samples = 1;
    bool beams = false;
  };

  explicit Bench(const Options& options)
      : session(limits(), shape(options)), runner(session, steps(options)) {
    session.spy = [this](const Batch&) { session.meet(FaultySession::Place::kRun); };
  }

  void add(std::vector<std::int32_t> prompt, std::int64_t count,
           const std::function<void(Request&)>& change = {}) {
    One one{std::make_shared<QuietSink>(64), std::move(prompt), count, 1, false};
    Request request;
    request.input_ids = one.prompt;
    request.sink = one.sink;
    if (change) change(request);
    one.samples = request.sampling.beam_width > 1 ? request.sampling.n : request.samples();
    one.beams = request.sampling.beam_width > 1;
    all.push_back(one);
    auto spec = std::make_shared<const Request>(std::move(request));
    arm();
    runner.add(++ids, std::move(spec), 7, count, now);
    disarm();
  }

  /// Everything that the runner knows how to do, in one small batch.
  void add_mix() {
    const int turn = ++turns_ % 3;  // not always the same prefix
    std::vector<std::int32_t> common;
    for (int i = 0; i < 14; ++i) common.push_back((i * 5 + turn) % 15);
    add(common, 9);
    common.push_back(3);
    add(common, 7, [](Request& r) { r.sampling.n = 3; });
    add({1, 2, 3}, 6, [](Request& r) {
      r.sampling.beam_width = 3;
      r.sampling.n = 2;
    });
    add({4, 5, 6, 7, 8}, 5, [](Request& r) {
      r.context_logits = r.generation_logits = true;
      r.sampling.prompt_logprobs = 1;
    });
    add({9, 1}, 8, [](Request& r) { r.options.logits_processor = [](const LogitsView&) {}; });
    add({2, 2}, 4, [](Request& r) {
      r.options.queue_seconds = 1000;
      r.options.total_seconds = 1000;
      r.options.retention.ranges = {{0, std::nullopt, 80, 0.5}};
    });
  }

  void iterate() {
    now += 0.001;
    arm();
    runner.expire(now);
    runner.iterate([this] { return now; });
    disarm();
    ASSERT_FALSE(runner.cache().in_doubt());
    ASSERT_NO_THROW(runner.cache().check_invariants());
  }
  /// Iterations that it took.
  int run() {
    int count = 0;
    for (; count < 3000 && runner.busy(); ++count) iterate();
    EXPECT_FALSE(runner.busy()) << "it never ends";
    return count;
  }

  /// Of what was added since the last call: requests that ended with an error.
  int check() {
    EXPECT_FALSE(runner.failure()) << runner.failure()->what();
    EXPECT_EQ(runner.cache().statistics().used_blocks, 0) << "a block is lost";
    EXPECT_EQ(runner.scheduler().running(), 0);
    EXPECT_EQ(runner.scheduler().waiting(), 0);
    int harmed = 0;
    for (const One& one : all) {
      EXPECT_EQ(one.sink->faults, 0);
      bool failed = false;
      for (int s = 0; s < one.samples; ++s) {
        const auto at = static_cast<std::size_t>(s);
        EXPECT_EQ(one.sink->ends(s), 1) << "sample " << s;
        const auto expected =
            one.beams ? beams_[at] : expected_output(one.prompt, one.count, kVocab);
        const auto& got = one.sink->tokens[at];
        failed = failed || one.sink->reasons[at] == FinishReason::kError;
        if (one.sink->reasons[at] != FinishReason::kError) {
          if (!one.beams || !beams_[at].empty()) {
            EXPECT_EQ(got, expected);
          }
        } else if (!one.beams && got.size() <= expected.size()) {
          EXPECT_TRUE(std::equal(got.begin(), got.end(), expected.begin()));
        }
      }
      harmed += failed;
    }
    all.clear();
    return harmed;
  }

  /// Every slot can be taken at once.
  void check_slots() {
    runner.cache().clear_reusable();
    for (std::int32_t i = 0; i < kSlots; ++i) add({i, 1}, 8);
    std::int64_t most = 0;
    for (int i = 0; i < 1000 && runner.busy(); ++i) {
      iterate();
      most = std::max(most, runner.scheduler().running());
    }
    EXPECT_EQ(most, kSlots) << "a slot is lost";
    EXPECT_EQ(check(), 0);
  }

  /// Learns what the beams of add_mix() give when nothing fails.
  void learn() {
    add_mix();
    for (const One& one : all)
      if (one.beams) beam_sink_ = one.sink;
    run();
    for (std::size_t s = 0; s < 2; ++s) beams_[s] = beam_sink_->tokens[s];
    EXPECT_EQ(beams_[0].size(), 6U);
    EXPECT_EQ(check(), 0);
  }

  // Allocations of the next call of the runner that fail; at < 0: none.
  std::int64_t fail_at = -1;
  std::int64_t fail_count = 1;
  bool failed = false;
  bool stays_armed = false;

  FaultySession session;
  StepRunner runner;
  RequestId ids = 0;
  double now = 0;
  std::vector<One> all;

 private:
  static FakeSession::Shape shape(const Options& options) {
    FakeSession::Shape shape;
    shape.blocks = 21;
    shape.host_blocks = 4;
    shape.disk_blocks = 3;
    shape.vocab = kVocab;
    if (options.windows) shape.windows = {0, 9};
    return shape;
  }
  static StepRunnerOptions steps(const Options& options) {
    StepRunnerOptions steps;
    steps.policy = options.policy;
    steps.run_ahead = options.run_ahead;
    steps.cache_events = options.events;
    return steps;
  }
  void arm() {
    if (fail_at >= 0) faults_.emplace(fail_at, fail_count);
  }
  void disarm() {
    if (!faults_) return;
    failed = faults_->failed();
    faults_.reset();
    if (!stays_armed) fail_at = -1;
  }

  std::array<std::vector<std::int32_t>, 2> beams_;
  std::shared_ptr<QuietSink> beam_sink_;
  std::optional<FailingNew> faults_;
  int turns_ = 0;
};

std::vector<Options> option_mixes() {
  return {{},
          {.policy = SchedulerPolicy::kGuaranteedNoEvict, .windows = true},
          {.policy = SchedulerPolicy::kStaticBatch, .run_ahead = false, .events = 0}};
}

/// n counts up until nothing fails any more. `act` arms and acts.
void for_each_allocation(std::int64_t count, const Options& options, int iterations_before,
                         int& places) {
  Bench bench(options);
  bench.learn();
  for (std::int64_t n = 0;; ++n) {
    ASSERT_LT(n, 5000);
    bench.add_mix();
    for (int i = 0; i < iterations_before; ++i) bench.iterate();
    bench.fail_at = n;
    bench.fail_count = count;
    bench.failed = false;
    bench.iterate();
    const bool failed = bench.failed;
    bench.run();
    const int harmed = bench.check();
    if (count == 1) {
      EXPECT_LE(harmed, 1);
    }
    ASSERT_FALSE(testing::Test::HasFailure())
        << "allocation " << n << " (" << count << ") after " << iterations_before;
    if (!failed) break;
    ++places;
  }
  bench.check_slots();
}

TEST(Fault, AnyAllocationOfAnIterationMayFail) {
  int places = 0;
  const std::vector<Options> mixes = option_mixes();
  for (const Options& options : mixes)
    for (const int before : {0, 1, 2, 4, 6, 9, 13}) {
      for_each_allocation(1, options, before, places);
      ASSERT_FALSE(HasFailure());
    }
  EXPECT_GT(places, 1000) << "the switch does not work";
}

TEST(Fault, EveryAllocationFromOneOnMayFail) {
  int places = 0;
  const std::vector<Options> mixes = option_mixes();
  for (const Options& options : mixes)
    for (const int before : {1, 5}) {
      for_each_allocation(kEver, options, before, places);
      ASSERT_FALSE(HasFailure());
    }
  EXPECT_GT(places, 200);
}

TEST(Fault, AllocationsOfAddMayFail) {
  Bench bench({});
  bench.learn();
  int refused = 0;
  for (const std::int64_t count : {std::int64_t{1}, kEver})
    for (std::int64_t n = 0;; ++n) {
      ASSERT_LT(n, 1000);
      bench.add({1, 2, 3}, 5);
      bench.failed = false;
      bench.fail_at = n;
      bench.fail_count = count;
      bench.add({3, 4}, 5, [](Request& r) {
        r.sampling.n = 2;
        r.options.total_seconds = 100;
      });
      const bool failed = bench.failed;
      bench.run();
      const int harmed = bench.check();
      EXPECT_EQ(harmed, failed ? 1 : 0);
      refused += harmed;
      if (!failed || HasFailure()) break;
    }
  EXPECT_GT(refused, 10);
  bench.check_slots();
}

TEST(Fault, AllocationsOfCancelMayFail) {
  Bench bench({});
  bench.learn();
  for (const int before : {0, 1, 3, 8})
    for (std::int64_t n = 0;; ++n) {
      ASSERT_LT(n, 1000);
      bench.add_mix();
      for (int i = 0; i < before; ++i) bench.iterate();
      bool failed = false;
      {
        const FailingNew fault(n);
        for (RequestId id = bench.ids - 5; id <= bench.ids; id += 2)
          bench.runner.cancel(id, -1, bench.now);
        failed = fault.failed();
      }
      for (const Bench::One& one : bench.all) one.sink->faults = 0;
      bench.run();
      int cancelled = 0;
      for (auto it = bench.all.begin(); it != bench.all.end();) {
        bool was = false;
        for (int s = 0; s < it->samples; ++s) {
          EXPECT_EQ(it->sink->ends(s), 1);
          was = was || it->sink->reasons[static_cast<std::size_t>(s)] == FinishReason::kCancelled;
        }
        cancelled += was;
        it = was ? bench.all.erase(it) : it + 1;
      }
      EXPECT_GE(cancelled, 1);
      EXPECT_LE(bench.check(), 1);
      if (!failed || HasFailure()) break;
    }
  bench.check_slots();
}

/// No allocation ever succeeds again: everything ends, nothing hangs; then there is memory again.
TEST(Fault, WithoutAnyMemoryEveryRequestEnds) {
  for (const int before : {0, 3, 8}) {
    Bench bench({});
    bench.learn();
    bench.add_mix();
    for (int i = 0; i < before; ++i) bench.iterate();
    bench.fail_at = 0;
    bench.fail_count = kEver;
    bench.stays_armed = true;
    EXPECT_LE(bench.run(), 40);
    bench.stays_armed = false;
    bench.fail_at = -1;
    EXPECT_GE(bench.check(), 1);
    bench.add_mix();
    bench.run();
    EXPECT_EQ(bench.check(), 0);
    bench.check_slots();
  }
}

TEST(Fault, TheBackendMayThrowAnywhereAtAnyStep) {
  using Place = FaultySession::Place;
  const std::vector<Options> mixes = option_mixes();
  for (const Options& options : mixes)
    for (const Place place : {Place::kPrepare, Place::kForward, Place::kSample, Place::kRead,
                              Place::kRun, Place::kHandle}) {
      Bench bench(options);
      bench.learn();
      int places = 0;
      for (int call = 0;; ++call) {
        ASSERT_LT(call, 500);
        bench.add_mix();
        bench.session.threw = false;
        bench.session.calls_before = call;
        bench.session.place = place;
        bench.run();
        bench.session.place = Place::kNone;
        EXPECT_LE(bench.check(), 1);
        ASSERT_FALSE(HasFailure()) << "place " << static_cast<int>(place) << ", call " << call;
        if (!bench.session.threw) break;
        ++places;
      }
      EXPECT_GE(places, 5);
      bench.check_slots();
    }
}

/// Blocks that a failed step was to copy or to swap are not found again.
TEST(Fault, CacheCommandsOfAFailedStepAreNotReliedOn) {
  using Place = FaultySession::Place;
  Bench bench({.policy = SchedulerPolicy::kGuaranteedNoEvict});
  bench.learn();
  for (int round = 0; round < 120; ++round) {
    for (int i = 0; i < 4; ++i) {
      std::vector<std::int32_t> prompt;
      for (int t = 0; t < 18; ++t) prompt.push_back((t * 3 + (round + i * 2) % 6) % 15);
      bench.add(std::move(prompt), 4);
    }
    bench.session.calls_before = round % 7;
    if (round % 8 == 7) bench.session.place = round % 16 == 7 ? Place::kPrepare : Place::kRun;
    bench.run();
    bench.session.place = Place::kNone;
    EXPECT_LE(bench.check(), 1);
    ASSERT_FALSE(HasFailure()) << "round " << round;
  }
  EXPECT_GT(bench.runner.cache().statistics().swapped_in_blocks, 0U);
}

}  // namespace
}  // namespace tenon
