// The step runner over a fake session that is always as far behind as it may be: every request ends
// once, with the output it would have alone.
// SPDX-License-Identifier: Apache-2.0
#include "runtime/step_runner.h"

#include <gtest/gtest.h>

#include <random>

#include "fake_session.h"
#include "recorder.h"

namespace tenon {
namespace {

using test::expected_output;
using test::FakeSession;
using test::Recorder;

SessionOptions limits(std::int64_t sequences = 8, std::int64_t tokens = 48) {
  SessionOptions options;
  options.max_sequences = sequences;
  options.max_step_tokens = tokens;
  options.max_sequence_length = 256;
  options.tokens_per_block = 8;
  return options;
}

/// A runner over a fake session, with a clock that counts iterations as milliseconds.
struct Bench {
  explicit Bench(const FakeSession::Shape& shape = {}, const StepRunnerOptions& options = {},
                 const SessionOptions& session_options = limits())
      : session(session_options, shape), runner(session, options) {}

  std::shared_ptr<Recorder> add(std::vector<std::int32_t> prompt, std::int64_t new_tokens,
                                const std::function<void(Request&)>& change = {}) {
    auto recorder = std::make_shared<Recorder>();
    Request request;
    request.input_ids = std::move(prompt);
    request.sink = recorder;
    if (change) change(request);
    runner.add(++ids, std::make_shared<const Request>(std::move(request)), 7, new_tokens, now);
    return recorder;
  }
  void iterate() {
    now += 0.001;
    runner.expire(now);
    runner.iterate([this] { return now; });
    runner.cache().check_invariants();
  }
  void run(int most = 20000) {
    for (int i = 0; i < most && runner.busy(); ++i) iterate();
    ASSERT_FALSE(runner.busy()) << "it never ends";
    EXPECT_EQ(runner.scheduler().running(), 0);
    EXPECT_EQ(runner.scheduler().waiting(), 0);
    EXPECT_EQ(runner.cache().statistics().used_blocks, 0) << "a block is lost";
  }

  FakeSession session;
  StepRunner runner;
  RequestId ids = 0;
  double now = 0;
};

std::vector<std::int32_t> random_prompt(std::mt19937& random, std::size_t length) {
  std::vector<std::int32_t> prompt(length);
  for (std::int32_t& token : prompt) token = static_cast<std::int32_t>(random() % 90);
  return prompt;
}

TEST(StepRunner, OneRequestGetsItsTokens) {
  Bench bench;
  const auto one = bench.add({1, 2, 3}, 20);
  bench.run();
  EXPECT_EQ(one->tokens[0], expected_output({1, 2, 3}, 20, 100));
  EXPECT_EQ(one->reasons.at(0), FinishReason::kLength);
  EXPECT_EQ(bench.session.steps, 20) << "no step was wasted";
}

TEST(StepRunner, TheHostIsOneStepAhead) {
  Bench bench;
  bench.add({1, 2, 3}, 20);
  int ahead = 0;
  bench.session.spy = [&](const Batch& batch) { ahead += batch.token_ids[0] == kLastSampledToken; };
  bench.run();
  EXPECT_EQ(ahead, 19) << "every decode was issued before its token was known";
}

TEST(StepRunner, EndIdsStopTokensAndWordsEndTheOutput) {
  Bench bench;
  const auto all = expected_output({5, 6}, 30, 100);
  const auto end = bench.add({5, 6}, 30, [&](Request& r) { r.end_ids = {all[9]}; });
  const auto stop =
      bench.add({5, 6}, 30, [&](Request& r) { r.sampling.stop_token_ids = {all[4]}; });
  const auto words =
      bench.add({5, 6}, 30, [&](Request& r) { r.sampling.stop_words = {{all[6], all[7]}}; });
  const auto verdict = bench.add({5, 6}, 30);
  verdict->stop_after = 3;
  const auto late = bench.add({5, 6}, 30, [&](Request& r) {
    r.end_ids = {all[9]};
    r.sampling.ignore_eos = true;
  });
  bench.run();
  const auto first = [&](std::size_t count) {
    return std::vector<std::int32_t>(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(count));
  };
  const auto at = [&](std::int32_t token) {
    return static_cast<std::size_t>(std::find(all.begin(), all.end(), token) - all.begin()) + 1;
  };
  EXPECT_EQ(end->tokens[0], first(at(all[9])));
  EXPECT_EQ(end->reasons.at(0), FinishReason::kEndId);
  EXPECT_EQ(stop->tokens[0], first(at(all[4])));
  EXPECT_EQ(stop->reasons.at(0), FinishReason::kStopWords);
  EXPECT_EQ(words->tokens[0], first(8));
  EXPECT_EQ(words->reasons.at(0), FinishReason::kStopWords);
  EXPECT_EQ(verdict->tokens[0], first(3));
  EXPECT_EQ(late->tokens[0], all);
}

TEST(StepRunner, LongPromptsAreCutAndDoNotStopDecodes) {
  std::mt19937 random(3);
  Bench bench;
  const auto decoding = bench.add({1, 2}, 60);
  for (int i = 0; i < 4; ++i) bench.iterate();
  const std::size_t before = decoding->tokens[0].size();
  const auto prompt = random_prompt(random, 200);
  const auto long_one = bench.add(prompt, 5);
  for (int i = 0; i < 5; ++i) bench.iterate();
  EXPECT_EQ(decoding->tokens[0].size(), before + 5) << "a long prompt held the decode up";
  bench.run();
  EXPECT_EQ(long_one->tokens[0], expected_output(prompt, 5, 100));
  EXPECT_EQ(decoding->tokens[0], expected_output({1, 2}, 60, 100));
}

TEST(StepRunner, SamplesShareTheirPromptWithoutComputingItAgain) {
  std::mt19937 random(4);
  Bench bench;
  const auto prompt = random_prompt(random, 21);
  std::int64_t tokens = 0;
  bench.session.spy = [&](const Batch& batch) { tokens += batch.tokens(); };
  const auto four = bench.add(prompt, 10, [](Request& r) { r.sampling.n = 4; });
  bench.run();
  for (int sample = 0; sample < 4; ++sample)
    EXPECT_EQ(four->tokens[sample], expected_output(prompt, 10, 100)) << sample;
  EXPECT_LE(tokens, 21 + 4 * 10 + 4) << "the prompt was computed more than once";
}

TEST(StepRunner, APrefixIsFoundAgain) {
  std::mt19937 random(5);
  Bench bench;
  const auto prompt = random_prompt(random, 100);
  bench.add(prompt, 3);
  bench.run();
  std::int64_t tokens = 0;
  bench.session.spy = [&](const Batch& batch) { tokens += batch.tokens(); };
  const auto again = bench.add(prompt, 3);
  const auto salted =
      bench.add(prompt, 3, [](Request& r) { r.options.cache_salt = "other tenant"; });
  bench.run();
  EXPECT_EQ(again->tokens[0], expected_output(prompt, 3, 100));
  EXPECT_EQ(salted->tokens[0], again->tokens[0]);
  EXPECT_GE(again->timing->reused_tokens, 96);
  EXPECT_EQ(salted->timing->reused_tokens, 0);
  EXPECT_LE(tokens, 100 + 4 + 6);
}

TEST(StepRunner, PromptLogprobsAndLogitsComeOnceEachEvenInSmallChunks) {
  std::mt19937 random(6);
  Bench bench({}, {}, limits(/*sequences=*/4, /*tokens=*/16));
  const auto prompt = random_prompt(random, 30);
  bench.add(prompt, 2);  // so that reuse would be possible
  bench.run();
  const auto one = bench.add(prompt, 4, [](Request& r) {
    r.context_logits = r.generation_logits = true;
    r.sampling.prompt_logprobs = 2;
  });
  bench.run();
  EXPECT_EQ(one->prompt_logprobs.size(), 29U);
  EXPECT_EQ(one->logits.size(), 33U);
  for (const auto& [at, row] : one->logits) {
    std::vector<std::int32_t> tokens = prompt;
    tokens.insert(tokens.end(), one->tokens[0].begin(), one->tokens[0].end());
    tokens.resize(static_cast<std::size_t>(at.second) + 1);
    EXPECT_EQ(row, test::fake_logits(test::prefix_hash(tokens), 100)) << at.second;
  }
  for (const auto& [position, result] : one->prompt_logprobs) {
    EXPECT_EQ(result.tokens.at(0), prompt[static_cast<std::size_t>(position)]);
    EXPECT_EQ(result.top_logprobs.at(0).size(), 2U);
  }
}

TEST(StepRunner, EmbeddingsAreOfTheLastToken) {
  std::mt19937 random(8);
  Bench bench;
  const auto prompt = random_prompt(random, 70);
  const auto one = bench.add(prompt, 1, [](Request& r) { r.embedding = true; });
  bench.run();
  EXPECT_EQ(one->embedding,
            (std::vector<float>{static_cast<float>(test::prefix_hash(prompt) % 1000), 1.0F}));
  EXPECT_TRUE(one->tokens.empty());
  EXPECT_EQ(one->reasons.at(0), FinishReason::kLength);
}

/// Allows tokens whose id is even, then those that are odd, and so on.
class Alternate : public TokenConstraint {
 public:
  std::unique_ptr<TokenConstraint> fresh() const override { return std::make_unique<Alternate>(); }
  void allowed(std::span<std::uint32_t> bits) override {
    for (std::uint32_t& word : bits) word = odd_ ? 0xAAAAAAAAU : 0x55555555U;
  }
  void accept(std::int32_t token) override {
    EXPECT_EQ(token % 2 == 1, odd_);
    odd_ = !odd_;
  }

 private:
  bool odd_ = false;
};

TEST(StepRunner, ConstraintsAndProcessorsSeeEveryTokenBesideOthersThatDoNot) {
  Bench bench;
  const auto free = bench.add({1, 2, 3}, 30);
  const auto guided = bench.add({1, 2, 3}, 12, [](Request& r) {
    r.options.constraint = std::make_shared<const Alternate>();
  });
  std::vector<std::size_t> seen;
  const auto hooked = bench.add({4, 5}, 6, [&](Request& r) {
    r.options.logits_processor = [&seen](const LogitsView& view) {
      seen.push_back(view.tokens.size());
      std::fill(view.logits.begin(), view.logits.end(), 0.0F);
      view.logits[view.tokens.size()] = 9.0F;
    };
  });
  const auto faulty = bench.add({6}, 6, [](Request& r) {
    r.options.logits_processor = [](const LogitsView&) { throw std::runtime_error("hook broke"); };
  });
  bench.run();
  EXPECT_EQ(free->tokens[0], expected_output({1, 2, 3}, 30, 100));
  for (std::size_t i = 0; i < 12; ++i) EXPECT_EQ(guided->tokens[0].at(i) % 2, i % 2);
  EXPECT_EQ(hooked->tokens[0], (std::vector<std::int32_t>{2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(seen, (std::vector<std::size_t>{2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(faulty->reasons.at(0), FinishReason::kError);
  EXPECT_NE(faulty->message.find("hook broke"), std::string::npos);
}

TEST(StepRunner, APoisonousRequestFailsAlone) {
  Bench bench;
  bench.session.poison = {99};
  std::vector<std::shared_ptr<Recorder>> good;
  const std::vector<std::int32_t> prompt = {7, 8, 9};
  const auto wanted = expected_output(prompt, 40, 99);  // 99 is never drawn: vocabulary of 99
  Bench other({.vocab = 99});
  other.session.poison = {99};
  for (int i = 0; i < 3; ++i) good.push_back(other.add(prompt, 40));
  for (int i = 0; i < 5; ++i) other.iterate();
  const auto bad = other.add({1, 2, 99}, 10);
  other.run();
  EXPECT_EQ(bad->reasons.at(0), FinishReason::kError);
  EXPECT_NE(bad->message.find("poison"), std::string::npos);
  for (const auto& one : good) {
    EXPECT_EQ(one->reasons.at(0), FinishReason::kLength);
    EXPECT_EQ(one->tokens[0], wanted);
  }
  EXPECT_FALSE(other.runner.failure());
}

TEST(StepRunner, BlocksOfAFailedStepAreNotFoundAgain) {
  std::mt19937 random(9);
  for (const std::vector<std::int64_t>& windows : {std::vector<std::int64_t>{0}, {20}, {0, 20}}) {
    Bench bench({.windows = windows, .vocab = 99});
    bench.session.poison = {99};  // never drawn
    const auto prompt = random_prompt(random, 30);
    const auto good = bench.add(prompt, 10);
    const auto bad = bench.add({1, 2, 99}, 10);  // in the same step, which fills no block
    bench.run();
    const auto later = bench.add(prompt, 10);
    bench.run();
    EXPECT_EQ(bad->reasons.at(0), FinishReason::kError);
    EXPECT_EQ(good->tokens[0], expected_output(prompt, 10, 99)) << windows.size();
    EXPECT_EQ(later->tokens[0], good->tokens[0]) << windows.size();
  }
}

TEST(StepRunner, ABrokenSessionIsCondemned) {
  Bench bench;
  const auto first = bench.add({1, 2, 3}, 40);
  for (int i = 0; i < 3; ++i) bench.iterate();
  std::vector<std::shared_ptr<Recorder>> rest;
  for (int i = 0; i < 6; ++i) rest.push_back(bench.add({i, 2}, 10));
  bench.session.broken = true;
  bench.run();
  EXPECT_TRUE(bench.runner.failure());
  EXPECT_EQ(first->reasons.at(0), FinishReason::kError);
  for (const auto& one : rest) EXPECT_EQ(one->reasons.at(0), FinishReason::kError);
}

TEST(StepRunner, TimeLimitsEndRequestsInQueueAndUnderWay) {
  Bench bench({.blocks = 12});
  const auto running = bench.add({1, 2}, 80, [](Request& r) { r.options.total_seconds = 0.02; });
  const auto queued = bench.add({1, 3}, 80, [](Request& r) { r.options.queue_seconds = 0.01; });
  const auto patient = bench.add({1, 4}, 80);
  bench.run();
  EXPECT_EQ(running->reasons.at(0), FinishReason::kTimedOut);
  EXPECT_GT(running->tokens[0].size(), 10U) << "what it had is kept";
  EXPECT_EQ(queued->reasons.at(0), FinishReason::kTimedOut);
  EXPECT_TRUE(queued->tokens.empty());
  EXPECT_EQ(patient->tokens[0], expected_output({1, 4}, 80, 100));
}

TEST(StepRunner, PrioritiesGoFirstButWaitingMakesUpForThem) {
  Bench bench({.blocks = 12});
  std::vector<int> order;
  const auto add = [&](int mark, double priority) {
    return bench.add({mark, 2}, 80, [&](Request& r) {
      r.options.priority = priority;
      r.options.logits_processor = [&order, mark](const LogitsView& view) {
        if (view.tokens.size() == 2) order.push_back(mark);
      };
    });
  };
  add(1, 0.5);
  bench.iterate();
  add(2, 0.1);
  add(3, 0.9);
  bench.now += kPrioritySeconds;  // longer than any priority is worth
  add(4, 1.0);
  bench.run();
  EXPECT_EQ(order, (std::vector<int>{1, 3, 2, 4}));
}

TEST(StepRunner, BeamsShareAndPartWithTheirBlocksKept) {
  // Scores of the fake model's sequences, worked out by trying every beam by hand.
  const std::vector<std::int32_t> prompt = {3, 1, 4, 1, 5, 9, 2, 6, 5};
  const int width = 3;
  const int steps = 20;
  struct Path {
    std::vector<std::int32_t> tokens;
    double score = 0;
  };
  std::vector<Path> beams = {{prompt, 0}};
  for (int step = 0; step < steps; ++step) {
    std::vector<Path> next;
    for (const Path& beam : beams) {
      const auto logits = test::fake_logits(test::prefix_hash(beam.tokens), 100);
      double total = 0;
      for (const float logit : logits) total += std::exp(static_cast<double>(logit));
      for (std::int32_t t = 0; t < 100; ++t) {
        next.push_back(beam);
        next.back().tokens.push_back(t);
        next.back().score +=
            static_cast<double>(logits[static_cast<std::size_t>(t)]) - std::log(total);
      }
    }
    std::stable_sort(next.begin(), next.end(),
                     [](const Path& a, const Path& b) { return a.score > b.score; });
    next.resize(width);
    beams = std::move(next);
  }
  Bench bench({.blocks = 24});
  const auto beside = bench.add({8, 8}, 30);
  const auto found = bench.add(prompt, steps, [&](Request& r) {
    r.sampling.beam_width = width;
    r.sampling.n = width;
  });
  bench.run();
  ASSERT_EQ(found->tokens.size(), 3U) << found->message;
  for (int beam = 0; beam < width; ++beam) {
    const auto& wanted = beams[static_cast<std::size_t>(beam)];
    EXPECT_EQ(found->tokens[beam],
              std::vector<std::int32_t>(wanted.tokens.begin() + 9, wanted.tokens.end()));
    EXPECT_NEAR(found->scores[beam], wanted.score, 1e-4);
  }
  EXPECT_EQ(beside->tokens[0], expected_output({8, 8}, 30, 100));
}

/// Everything at once, at random.
class Workload : public testing::TestWithParam<int> {};

TEST_P(Workload, EveryRequestEndsOnceWithTheOutputItWouldHaveAlone) {
  std::mt19937 random(static_cast<unsigned>(GetParam()));
  const auto one_in = [&](unsigned n) { return random() % n == 0; };
  for (int round = 0; round < 25; ++round) {
    FakeSession::Shape shape;
    shape.blocks = 36 + static_cast<std::int64_t>(random() % 40);
    if (one_in(3)) shape.host_blocks = 8;
    if (one_in(3)) shape.disk_blocks = 8;
    if (one_in(3)) shape.windows = {0, 20};
    if (one_in(6)) shape.windows = {13};
    if (one_in(5)) shape.keeps_last_tokens = false;
    StepRunnerOptions options;
    options.policy = static_cast<SchedulerPolicy>(random() % 3);
    options.chunking = static_cast<ContextChunking>(random() % 2);
    options.reuse = !one_in(4);
    options.partial_reuse = !one_in(3);
    options.run_ahead = !one_in(4);
    Bench bench(shape, options,
                limits(2 + static_cast<std::int64_t>(random() % 7),
                       16 + static_cast<std::int64_t>(random() % 60)));
    struct Wanted {
      std::shared_ptr<Recorder> recorder;
      std::vector<std::int32_t> prompt;
      std::int64_t count = 0;
      int samples = 1;
      bool cancelled = false;
      RequestId id = 0;
    };
    std::vector<Wanted> all;
    const auto shared = random_prompt(random, 40);
    const int requests = 3 + static_cast<int>(random() % 25);
    for (int i = 0; i < requests; ++i) {
      Wanted one;
      one.prompt = random_prompt(random, 1 + random() % 60);
      if (one_in(2)) {
        const auto keep = static_cast<std::ptrdiff_t>(random() % 40);
        one.prompt.insert(one.prompt.begin(), shared.begin(), shared.begin() + keep);
      }
      one.count = 1 + static_cast<std::int64_t>(random() % 60);
      one.samples = one_in(5) ? 3 : 1;
      const double priority = static_cast<double>(random() % 11) / 10;
      one.recorder = bench.add(one.prompt, one.count, [&](Request& r) {
        r.options.priority = priority;
        r.sampling.n = one.samples;
        if (random() % 7 == 0) r.context_logits = true;
        if (random() % 7 == 0) r.options.cache_salt = "salt";
        if (random() % 9 == 0) r.options.logits_processor = [](const LogitsView&) {};
      });
      one.id = bench.ids;
      all.push_back(std::move(one));
      for (unsigned n = random() % 6; n > 0; --n) bench.iterate();
      if (one_in(8)) {
        Wanted& victim = all[random() % all.size()];
        victim.cancelled = true;
        bench.runner.cancel(victim.id, -1, bench.now);
      }
    }
    bench.run();
    for (const Wanted& one : all)
      for (int sample = 0; sample < one.samples; ++sample) {
        const auto expected = expected_output(one.prompt, one.count, 100);
        const auto& got = one.recorder->tokens[sample];
        ASSERT_TRUE(one.recorder->reasons.contains(sample)) << "round " << round;
        if (one.cancelled) {
          ASSERT_LE(got.size(), expected.size());
          EXPECT_TRUE(std::equal(got.begin(), got.end(), expected.begin()));
        } else {
          ASSERT_EQ(got, expected) << "round " << round << ": " << one.recorder->message;
          EXPECT_EQ(one.recorder->reasons.at(sample), FinishReason::kLength);
        }
      }
    if (testing::Test::HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, Workload, testing::Range(0, 24));

}  // namespace
}  // namespace tenon
