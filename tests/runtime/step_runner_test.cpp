// The step runner over a fake session that is always as far behind as it may be: every request ends
// once, with the output it would have alone.
// SPDX-License-Identifier: Apache-2.0
#include "runtime/step_runner.h"

#include <gtest/gtest.h>

#include <random>

#include "fake_session.h"
#include "recorder.h"
#include "runtime/output_rules.h"

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

TEST(StepRunner, WhatWasWrittenBeforeAFailedStepIsFoundAgain) {
  Bench bench({.vocab = 99});
  bench.session.poison = {99};
  const std::vector<std::int32_t> prompt(40, 5);  // five blocks
  bench.add(prompt, 10);
  bench.run();
  const auto good = bench.add({1, 2, 3}, 30);
  for (int i = 0; i < 4; ++i) bench.iterate();
  const auto bad = bench.add({1, 2, 99}, 10);
  bench.run();
  EXPECT_EQ(bad->reasons.at(0), FinishReason::kError);
  EXPECT_EQ(good->tokens[0], expected_output({1, 2, 3}, 30, 99));
  const std::uint64_t found_before = bench.runner.cache().statistics().reused_tokens;
  const auto later = bench.add(prompt, 10);
  bench.run();
  EXPECT_EQ(later->tokens[0], expected_output(prompt, 10, 99));
  EXPECT_EQ(bench.runner.cache().statistics().reused_tokens - found_before, 39U);
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

/// The beams of the fake model, worked out by trying every continuation that `may_follow` an
/// output.
struct Path {
  std::vector<std::int32_t> tokens;
  double score = 0;
};
std::vector<Path> beams_by_hand(
    const std::vector<std::int32_t>& prompt, std::size_t width, int steps,
    const std::function<bool(std::span<const std::int32_t>, std::int32_t)>& may_follow) {
  std::vector<Path> beams = {{prompt, 0}};
  for (int step = 0; step < steps; ++step) {
    std::vector<Path> next;
    for (const Path& beam : beams) {
      std::vector<float> logits = test::fake_logits(test::prefix_hash(beam.tokens), 100);
      const std::span<const std::int32_t> output = std::span(beam.tokens).subspan(prompt.size());
      for (std::int32_t t = 0; t < 100; ++t)
        if (!may_follow(output, t)) logits[static_cast<std::size_t>(t)] = -INFINITY;
      double total = 0;
      for (const float logit : logits) total += std::exp(static_cast<double>(logit));
      for (std::int32_t t = 0; t < 100; ++t) {
        const double logit = logits[static_cast<std::size_t>(t)];
        if (std::isinf(logit)) continue;
        next.push_back(beam);
        next.back().tokens.push_back(t);
        next.back().score += logit - std::log(total);
      }
    }
    std::stable_sort(next.begin(), next.end(),
                     [](const Path& a, const Path& b) { return a.score > b.score; });
    next.resize(std::min(next.size(), width));
    beams = std::move(next);
  }
  return beams;
}

void expect_beams(const Recorder& found, const std::vector<Path>& wanted, std::size_t prompt) {
  ASSERT_EQ(found.tokens.size(), wanted.size()) << found.message;
  for (std::size_t beam = 0; beam < wanted.size(); ++beam) {
    const std::vector<std::int32_t>& tokens = wanted[beam].tokens;
    EXPECT_EQ(found.tokens.at(static_cast<int>(beam)),
              std::vector<std::int32_t>(tokens.begin() + static_cast<std::ptrdiff_t>(prompt),
                                        tokens.end()));
    EXPECT_NEAR(found.scores.at(static_cast<int>(beam)), wanted[beam].score, 1e-4);
  }
}

const std::vector<std::int32_t> kBeamPrompt = {3, 1, 4, 1, 5, 9, 2, 6, 5};

void three_beams(Request& request) { request.sampling.beam_width = request.sampling.n = 3; }

TEST(StepRunner, IterationsCountWhoWasPausedForThem) {
  Bench bench({.blocks = 12}, {.policy = SchedulerPolicy::kMaxUtilization});
  for (std::int32_t i = 0; i < 6; ++i) bench.add({i, 2, 3, 4, 5}, 40);
  std::uint64_t iteration = 0;
  std::uint64_t paused = 0;
  int steps_without = 0;
  while (bench.runner.busy()) {
    bench.iterate();
    const IterationStatistics& it = bench.runner.last_iteration();
    if (it.iteration == iteration) continue;
    iteration = it.iteration;
    paused += it.paused_requests;
    steps_without += it.paused_requests == 0 ? 1 : 0;
  }
  EXPECT_GT(paused, 0U);
  EXPECT_EQ(paused, bench.runner.statistics().paused_sequences);
  EXPECT_GT(steps_without, 20);
}

TEST(StepRunner, BeamsShareAndPartWithTheirBlocksKept) {
  Bench bench({.blocks = 24});
  const auto beside = bench.add({8, 8}, 30);
  const auto found = bench.add(kBeamPrompt, 20, three_beams);
  bench.run();
  expect_beams(*found, beams_by_hand(kBeamPrompt, 3, 20, [](auto, auto) { return true; }), 9);
  EXPECT_EQ(beside->tokens[0], expected_output({8, 8}, 30, 100));
}

// In a window each beam is promised all its blocks, from the start on: what others took meanwhile
// was not there when beams parted, and every request ended.
TEST(StepRunner, BeamsOfAWindowHaveTheirRoomWhenTheyPart) {
  std::mt19937 random(3);
  const auto prompt = random_prompt(random, 40);
  for (const std::vector<std::int64_t>& windows : {std::vector<std::int64_t>{20}, {0, 20}})
    for (std::int64_t blocks = 18; blocks <= 36; ++blocks) {
      SCOPED_TRACE(blocks);
      Bench bench({.blocks = blocks, .windows = windows},
                  {.policy = SchedulerPolicy::kMaxUtilization}, limits(10, 16));
      std::vector<std::shared_ptr<Recorder>> others;
      const auto ask = [&] {
        for (int i = 0; i < 3; ++i)
          others.push_back(bench.add({7, static_cast<int>(others.size())}, 60));
      };
      ask();
      const auto found = bench.add(prompt, 6, three_beams);
      ask();
      bench.run();
      EXPECT_FALSE(bench.runner.failure());
      expect_beams(*found, beams_by_hand(prompt, 3, 6, [](auto, auto) { return true; }), 40);
      for (std::size_t i = 0; i < others.size(); ++i)
        EXPECT_EQ(others[i]->tokens[0],
                  expected_output({7, static_cast<std::int32_t>(i)}, 60, 100));
    }
}

TEST(StepRunner, BeamsTellOfTheLikeliestTokensAndTheLogitsOnTheirWay) {
  constexpr int kSteps = 12;
  for (const std::int32_t top : {0, 2, 9}) {  // 6 are what the search itself looks at
    Bench bench;
    const auto found = bench.add(kBeamPrompt, kSteps, [&](Request& r) {
      three_beams(r);
      r.sampling.logprobs = top;
      r.generation_logits = top > 0;
    });
    bench.run();
    expect_beams(*found, beams_by_hand(kBeamPrompt, 3, kSteps, [](auto, auto) { return true; }), 9);
    for (const auto& [beam, result] : found->beams) {
      ASSERT_EQ(result.logprobs.size(), static_cast<std::size_t>(kSteps));
      ASSERT_EQ(result.top_logprobs.size(), static_cast<std::size_t>(top > 0 ? kSteps : 0));
      std::vector<std::int32_t> tokens = kBeamPrompt;
      for (std::size_t i = 0; i < result.tokens.size(); ++i) {
        const std::vector<float> logits = test::fake_logits(test::prefix_hash(tokens), 100);
        const auto wanted = logprobs_of_row(logits, result.tokens[i], top);
        EXPECT_NEAR(result.logprobs[i], wanted.logprobs[0], 1e-5);
        if (top > 0) {
          ASSERT_EQ(result.top_logprobs[i].size(), static_cast<std::size_t>(top));
          for (std::size_t k = 0; k < result.top_logprobs[i].size(); ++k) {
            EXPECT_EQ(result.top_logprobs[i][k].token, wanted.top_logprobs[0][k].token);
            EXPECT_NEAR(result.top_logprobs[i][k].logprob, wanted.top_logprobs[0][k].logprob, 1e-5);
          }
          EXPECT_EQ(found->logits.at({beam, static_cast<std::int64_t>(tokens.size()) - 1}), logits);
        }
        tokens.push_back(result.tokens[i]);
      }
    }
  }
}

/// What may come next follows from all that came: ids modulo 5 from the sum of their fifths, which
/// the rule leaves open.
class Sums : public TokenConstraint {
 public:
  static bool may_follow(std::span<const std::int32_t> output, std::int32_t token) {
    std::int32_t sum = 0;
    for (const std::int32_t each : output) sum += each / 5;
    return token % 5 == (sum + 1) % 5;
  }
  std::unique_ptr<TokenConstraint> fresh() const override { return std::make_unique<Sums>(); }
  void allowed(std::span<std::uint32_t> bits) override {
    for (std::int32_t t = 0; t < 100; ++t)
      if (may_follow(accepted_, t)) bits[static_cast<std::size_t>(t / 32)] |= 1U << (t % 32);
  }
  void accept(std::int32_t token) override {
    if (!may_follow(accepted_, token)) throw std::runtime_error("that was not allowed");
    accepted_.push_back(token);
  }

 private:
  std::vector<std::int32_t> accepted_;
};

TEST(StepRunner, EachBeamHasTheConstraintOfItsOwnWay) {
  const std::vector<Path> wanted = beams_by_hand(kBeamPrompt, 3, 15, Sums::may_follow);
  const auto guided = [](Request& r) {
    three_beams(r);
    r.options.constraint = std::make_shared<const Sums>();
  };
  Bench bench;
  const auto found = bench.add(kBeamPrompt, 15, guided);
  bench.run();
  expect_beams(*found, wanted, 9);

  Bench again;  // a step fails on the way, and the search begins anew
  again.session.poison = {999};
  const auto restarted = again.add(kBeamPrompt, 15, guided);
  for (int i = 0; i < 6; ++i) again.iterate();
  const auto bad = again.add({999}, 3);
  again.run();
  EXPECT_EQ(bad->reasons.at(0), FinishReason::kError);
  expect_beams(*restarted, wanted, 9);
  EXPECT_GT(restarted->timing->preemptions, 0);
}

/// Allows everything; the third token that it is told of is too much.
class Fragile : public TokenConstraint {
 public:
  std::unique_ptr<TokenConstraint> fresh() const override { return std::make_unique<Fragile>(); }
  void allowed(std::span<std::uint32_t> bits) override { std::ranges::fill(bits, ~0U); }
  void accept(std::int32_t) override {
    if (++accepted_ == 3) throw std::runtime_error("the grammar broke");
  }

 private:
  int accepted_ = 0;
};

TEST(StepRunner, AConstraintThatThrowsEndsItsBeamsAlone) {
  Bench bench;
  const auto beside = bench.add({8, 8}, 30);
  const auto broken = bench.add(kBeamPrompt, 15, [](Request& r) {
    three_beams(r);
    r.options.constraint = std::make_shared<const Fragile>();
  });
  bench.run();
  for (int beam = 0; beam < 3; ++beam)
    EXPECT_EQ(broken->reasons.at(beam), FinishReason::kError) << beam;
  EXPECT_NE(broken->message.find("the grammar broke"), std::string::npos);
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
