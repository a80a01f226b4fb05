// Arrival traces replayed over the step runner and a session that only keeps time: in every step
// the limits hold and the cache's counts agree; nothing starves, decodes go on beside long prompts,
// and every request ends once, under every policy.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <set>

#include "runtime/step_runner.h"

namespace tenon {
namespace {

constexpr std::int64_t kVocab = 8;
constexpr double kStepSeconds = 1e-3;   // of any step
constexpr double kTokenSeconds = 2e-5;  // more for each token

double cost_of(std::int64_t tokens) {
  return kStepSeconds + kTokenSeconds * static_cast<double>(tokens);
}

/// Takes the time that steps would take, one after the other, and draws any token.
class TimedSession : public Session {
 public:
  TimedSession(SessionOptions options, std::vector<CacheGroup> groups, bool keeps_last_tokens)
      : options_(std::move(options)),
        groups_(std::move(groups)),
        keeps_last_tokens_(keeps_last_tokens) {
    traits_.vocab_size = kVocab;
    traits_.chunkable = true;
  }

  double now = 0;
  std::int64_t steps = 0;
  std::int64_t most_sequences = 0;

  void prepare(const Batch& batch) override {
    const std::int64_t rows =
        options_.all_logits ? options_.max_step_tokens : options_.max_sequences;
    ASSERT_GT(batch.tokens(), 0);
    ASSERT_LE(batch.tokens(), options_.max_step_tokens);
    ASSERT_LE(batch.sequences(), options_.max_sequences);
    ASSERT_LE(static_cast<std::int64_t>(batch.logit_rows.size()), rows);
    const std::set<std::int32_t> slots(batch.slots.begin(), batch.slots.end());
    ASSERT_EQ(slots.size(), batch.slots.size()) << "a slot has two rows";
    ASSERT_GE(*slots.begin(), 0);
    ASSERT_LT(*slots.rbegin(), options_.max_sequences);
    most_sequences = std::max(most_sequences, batch.sequences());
    tokens_ = batch.tokens();
    logit_rows_ = static_cast<std::int64_t>(batch.logit_rows.size());
    sample_row_ = batch.sample_row;
  }
  void forward() override { ++steps; }
  std::shared_ptr<StepHandle> sample(const LateInputs&) override {
    auto handle = std::make_shared<Handle>(*this);
    free_at_ = std::max(now, free_at_) + cost_of(tokens_);
    handle->end = free_at_;
    for (const std::int32_t row : sample_row_) {
      SequenceResult& result = handle->result.sequences.emplace_back();
      if (row >= 0) result.tokens = {static_cast<std::int32_t>(++drawn_ % kVocab)};
    }
    return handle;
  }
  Tensor read(std::string_view) override {
    now = std::max(now, free_at_);
    return Tensor(DataType::kFloat32, {logit_rows_, kVocab});
  }

  const SessionOptions& options() const override { return options_; }
  const EngineTraits& traits() const override { return traits_; }
  const std::vector<CacheGroup>& cache_groups() const override { return groups_; }
  const Ledger& ledger() const override { return ledger_; }
  std::string describe() const override { return "a clock"; }
  std::vector<std::pair<std::string, int>> kernels() const override { return {}; }
  bool keeps_last_tokens() const override { return keeps_last_tokens_; }

 private:
  struct Handle : StepHandle {
    explicit Handle(TimedSession& of) : session(of) {}
    bool ready() const override { return session.now >= end; }
    const StepResult& wait() override {
      session.now = std::max(session.now, end);
      return result;
    }
    TimedSession& session;
    double end = 0;
    StepResult result;
  };

  SessionOptions options_;
  std::vector<CacheGroup> groups_;
  bool keeps_last_tokens_;
  EngineTraits traits_;
  Ledger ledger_{"clock"};
  std::int64_t tokens_ = 0;
  std::int64_t logit_rows_ = 0;
  std::vector<std::int32_t> sample_row_;
  double free_at_ = 0;
  std::uint64_t drawn_ = 0;
};

struct Arrival {
  double time = 0;
  std::vector<std::int32_t> prompt;
  std::int64_t tokens = 0;
  int samples = 1;
  double priority = 0.5;
  bool context_logits = false;
  bool cancelled = false;
};

enum class Kind { kPoisson, kBursty, kLongPrompts, kSharedPrefix };

std::vector<Arrival> make_trace(Kind kind, int count, std::int64_t longest, std::mt19937& random) {
  const auto below = [&](std::int64_t n) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n));
  };
  std::exponential_distribution<double> gap(200.0);  // about what the fake can serve
  std::vector<std::int32_t> shared;
  for (int i = 0; i < 40; ++i) shared.push_back(static_cast<std::int32_t>(below(kVocab)));
  std::vector<Arrival> trace;
  double time = 0;
  for (int i = 0; i < count; ++i) {
    Arrival one;
    if (kind != Kind::kBursty)
      time += gap(random);
    else if (below(8) == 0)
      time += 0.05;
    one.time = time;
    std::int64_t length = 1 + below(24);
    if (kind == Kind::kLongPrompts && below(4) == 0) length = 1 + below(longest * 3 / 4);
    for (std::int64_t t = 0; t < length; ++t)
      one.prompt.push_back(static_cast<std::int32_t>(below(kVocab)));
    if (kind == Kind::kSharedPrefix)
      one.prompt.insert(one.prompt.begin(), shared.begin(), shared.begin() + below(40));
    one.tokens = 1 + below(std::min<std::int64_t>(
                         30, longest - static_cast<std::int64_t>(one.prompt.size())));
    one.samples = below(8) == 0 ? 3 : 1;
    one.priority = static_cast<double>(below(5)) / 4;
    one.context_logits = below(12) == 0;
    one.cancelled = below(15) == 0;
    trace.push_back(std::move(one));
  }
  return trace;
}

struct Setting {
  SchedulerPolicy policy = SchedulerPolicy::kGuaranteedNoEvict;
  ContextChunking chunking = ContextChunking::kFirstComeFirstServed;
  bool run_ahead = true;
  bool keeps_last_tokens = true;
  bool all_logits = false;
  bool reuse = true;
  std::int64_t sequences = 8;
  std::int64_t step_tokens = 32;
  std::int64_t blocks = 40;
  std::int64_t window = 0;
};

constexpr std::int64_t kBlock = 8;

class Simulation {
 public:
  explicit Simulation(const Setting& setting)
      : setting_(setting),
        session(session_options(setting), groups(setting), setting.keeps_last_tokens),
        runner(session, runner_options(setting)) {}

  std::int64_t longest() const { return std::min<std::int64_t>(setting_.blocks * kBlock, 256); }

  void replay(const std::vector<Arrival>& trace) {
    sinks_.resize(trace.size());
    std::size_t next = 0;
    int idle = 0;
    while (next < trace.size() || runner.busy()) {
      if (!runner.busy()) session.now = std::max(session.now, trace[next].time);
      for (; next < trace.size() && trace[next].time <= session.now; ++next) add(trace, next);
      cancel_some(trace, next);
      runner.expire(session.now);
      const std::int64_t before = session.steps;
      ++iteration_;
      runner.iterate([this] { return session.now; });
      idle = session.steps > before ? 0 : idle + 1;
      ASSERT_LE(idle, 3) << "nothing runs though requests are there";
      ASSERT_NO_THROW(runner.cache().check_invariants());
      ASSERT_FALSE(testing::Test::HasFailure());
    }
    check(trace);
  }

  std::uint64_t paused() const { return runner.scheduler().paused(); }

 private:
  class Sink : public RequestSink {
   public:
    explicit Sink(const std::int64_t& iteration) : iteration_(iteration) {}
    Verdict on_tokens(int sample, const SequenceResult& result) override {
      const auto at = static_cast<std::size_t>(sample);
      EXPECT_EQ(ends[at], 0);
      if (tokens[at] > 0) widest_gap = std::max(widest_gap, iteration_ - last_[at]);
      last_[at] = iteration_;
      tokens[at] += static_cast<std::int64_t>(result.tokens.size());
      return Verdict::kContinue;
    }
    void on_logits(int, std::int64_t, std::span<const float> rows, std::int64_t vocab) override {
      logit_rows += static_cast<std::int64_t>(rows.size()) / vocab;
    }
    void on_timing(const RequestTiming& told) override { timing = told; }
    void on_finish(int sample, FinishReason reason, const Error* error) override {
      ++ends[static_cast<std::size_t>(sample)];
      last_reason = reason;
      if (error != nullptr) ADD_FAILURE() << error->what();
    }
    std::array<std::int64_t, 3> tokens{};
    std::array<int, 3> ends{};
    std::int64_t widest_gap = 0;  // iterations between two tokens of a sample
    std::int64_t logit_rows = 0;
    FinishReason last_reason = FinishReason::kNotFinished;
    RequestTiming timing;

   private:
    const std::int64_t& iteration_;
    std::array<std::int64_t, 3> last_{};
  };

  static SessionOptions session_options(const Setting& setting) {
    SessionOptions options;
    options.max_sequences = setting.sequences;
    options.max_step_tokens = setting.step_tokens;
    options.max_sequence_length = 256;
    options.tokens_per_block = kBlock;
    options.all_logits = setting.all_logits;
    return options;
  }
  static std::vector<Session::CacheGroup> groups(const Setting& setting) {
    std::vector<Session::CacheGroup> groups = {{.window = 0, .blocks = setting.blocks}};
    if (setting.window > 0) groups.push_back({.window = setting.window, .blocks = setting.blocks});
    return groups;
  }
  static StepRunnerOptions runner_options(const Setting& setting) {
    StepRunnerOptions options;
    options.policy = setting.policy;
    options.chunking = setting.chunking;
    options.run_ahead = setting.run_ahead;
    options.reuse = setting.reuse;
    return options;
  }

  void add(const std::vector<Arrival>& trace, std::size_t at) {
    const Arrival& one = trace[at];
    sinks_[at] = std::make_shared<Sink>(iteration_);
    Request request;
    request.input_ids = one.prompt;
    request.sampling.n = one.samples;
    request.options.priority = one.priority;
    request.context_logits = one.context_logits;
    request.sink = sinks_[at];
    runner.add(at + 1, std::make_shared<const Request>(std::move(request)), 1, one.tokens,
               one.time);
  }

  void cancel_some(const std::vector<Arrival>& trace, std::size_t arrived) {
    for (; cancelled_ < arrived; ++cancelled_)
      if (trace[cancelled_].cancelled && iteration_ % 3 == 0)
        runner.cancel(cancelled_ + 1, -1, session.now);
  }

  /// Seconds that a request takes at most where it has the device to itself.
  double alone(const Arrival& one) const {
    const auto length = static_cast<double>(one.prompt.size());
    // Chunks may be as short as a block, and every step may be as long as a step can be.
    const double steps = length / static_cast<double>(kBlock) + 2 +
                         static_cast<double>(one.tokens * one.samples * 2) + length;
    return steps * cost_of(setting_.step_tokens);
  }

  void check(const std::vector<Arrival>& trace) {
    EXPECT_EQ(runner.cache().statistics().used_blocks, 0);
    EXPECT_EQ(runner.waiting_tokens(), 0);
    const bool pauses = setting_.policy == SchedulerPolicy::kMaxUtilization;
    if (!pauses) {
      EXPECT_EQ(paused(), 0U);
    }
    for (std::size_t i = 0; i < trace.size(); ++i) {
      const Sink& sink = *sinks_[i];
      const bool cancelled = sink.last_reason == FinishReason::kCancelled;
      for (int s = 0; s < trace[i].samples; ++s) {
        ASSERT_EQ(sink.ends[static_cast<std::size_t>(s)], 1) << "request " << i;
        if (!cancelled) {
          ASSERT_EQ(sink.tokens[static_cast<std::size_t>(s)], trace[i].tokens);
        }
      }
      if (trace[i].context_logits && !cancelled) {
        EXPECT_EQ(sink.logit_rows, static_cast<std::int64_t>(trace[i].prompt.size()));
      }
      // With a pipeline, or without running ahead of a result, every second step.
      const std::int64_t steps = setting_.keeps_last_tokens ? 1 : 2;
      if (sink.timing.preemptions == 0) {
        EXPECT_LE(sink.widest_gap, steps) << "request " << i << ": a decode was skipped";
      }
      check_wait(trace, i);
    }
  }

  /// Before it there run those that were there when it came, and those that go before it; what is
  /// paused runs again.
  void check_wait(const std::vector<Arrival>& trace, std::size_t i) {
    const Arrival& mine = trace[i];
    const double key = queue_key(mine.time, mine.priority);
    double bound = 2 * cost_of(setting_.step_tokens);
    for (std::size_t j = 0; j < trace.size(); ++j)
      if (j != i &&
          (trace[j].time <= mine.time || queue_key(trace[j].time, trace[j].priority) <= key))
        bound += alone(trace[j]);
    if (setting_.policy == SchedulerPolicy::kMaxUtilization) bound *= 2;
    EXPECT_LE(sinks_[i]->timing.queued_seconds, bound) << "request " << i << " starved";
  }

  Setting setting_;
  TimedSession session;
  StepRunner runner;
  std::vector<std::shared_ptr<Sink>> sinks_;
  std::int64_t iteration_ = 0;
  std::size_t cancelled_ = 0;
};

class Traces : public testing::TestWithParam<int> {};

TEST_P(Traces, KeepTheSchedulersPromises) {
  std::mt19937 random(static_cast<unsigned>(GetParam()));
  const auto one_in = [&](unsigned n) { return random() % n == 0; };
  std::uint64_t paused = 0;
  for (int round = 0; round < 400; ++round) {
    Setting setting;
    setting.policy = static_cast<SchedulerPolicy>(random() % 3);
    setting.chunking = static_cast<ContextChunking>(random() % 2);
    setting.run_ahead = !one_in(5);
    setting.keeps_last_tokens = !one_in(5);
    setting.all_logits = one_in(3);
    setting.reuse = !one_in(4);
    setting.sequences = 2 + static_cast<std::int64_t>(random() % 9);
    setting.step_tokens =
        std::max<std::int64_t>(setting.sequences, 8 + static_cast<std::int64_t>(random() % 40));
    setting.blocks = 14 + static_cast<std::int64_t>(random() % 40);
    if (one_in(4)) setting.window = 12;
    Simulation simulation(setting);
    const auto kind = static_cast<Kind>(random() % 4);
    const int count = 3 + static_cast<int>(random() % 20);
    simulation.replay(make_trace(kind, count, simulation.longest() - 1, random));
    paused += simulation.paused();
    ASSERT_FALSE(HasFailure()) << "round " << round << ", policy "
                               << static_cast<int>(setting.policy) << ", trace "
                               << static_cast<int>(kind);
  }
  EXPECT_GT(paused, 0U) << "no trace made anybody pause";
}

INSTANTIATE_TEST_SUITE_P(Seeds, Traces, testing::Range(0, 10));

/// Long enough for waiting to make up for a low priority, under more load than can be served.
TEST(Simulation, OverloadStarvesNobody) {
  for (const SchedulerPolicy policy :
       {SchedulerPolicy::kGuaranteedNoEvict, SchedulerPolicy::kMaxUtilization,
        SchedulerPolicy::kStaticBatch}) {
    std::mt19937 random(11);
    Setting setting;
    setting.policy = policy;
    setting.sequences = 2;
    setting.blocks = 12;
    std::vector<Arrival> trace;
    for (int i = 0; i < 1200; ++i) {
      Arrival one;
      one.time = i * 0.05;
      one.prompt.assign(1 + random() % 30, 3);
      one.tokens = 40;
      one.priority = i % 40 == 0 ? 0.0 : 1.0;
      trace.push_back(std::move(one));
    }
    Simulation simulation(setting);
    simulation.replay(trace);
    ASSERT_FALSE(HasFailure());
  }
}

}  // namespace
}  // namespace tenon
