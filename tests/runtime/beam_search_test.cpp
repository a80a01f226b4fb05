// Beam search over tables of log-probabilities: as transformers' generate() does it
// (tools/make_beam_fixtures.py), as trying everything does it, and with candidates that are none.
// SPDX-License-Identifier: Apache-2.0
#include "runtime/beam_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <string>

#include "core/file.h"
#include "core/json.h"
#include "tenon/error.h"

namespace tenon {
namespace {

using Ids = std::vector<std::int32_t>;
using Candidates = std::vector<std::vector<TokenLogprob>>;

/// A model whose logits depend on the last two tokens alone; make_beam_fixtures.py has the same.
struct Table {
  std::uint64_t seed = 0;
  std::int32_t vocab = 0;
  double scale = 0;
  double end_bonus = 0;
  Ids end_ids{};

  static std::uint64_t hashed(std::uint64_t x) {
    x += 0x9E3779B97F4A7C15U;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9U;
    x = (x ^ x >> 27) * 0x94D049BB133111EBU;
    return x ^ x >> 31;
  }

  /// All tokens after `context`, likeliest first.
  std::vector<TokenLogprob> next(const Ids& context) const {
    const auto before = static_cast<std::uint64_t>(context[context.size() - 2]);
    const auto last = static_cast<std::uint64_t>(context.back());
    std::vector<double> logits;
    double sum = 0;
    for (std::int32_t token = 0; token < vocab; ++token) {
      const std::uint64_t key = seed << 48 | before << 32 | last << 16 | std::uint64_t(token);
      const bool ends = std::find(end_ids.begin(), end_ids.end(), token) != end_ids.end();
      logits.push_back(static_cast<double>(hashed(key) >> 40) / (1 << 24) * scale +
                       (ends ? end_bonus : 0));
      sum += std::exp(logits.back());
    }
    std::vector<TokenLogprob> all;
    for (std::int32_t token = 0; token < vocab; ++token)
      all.push_back({token, static_cast<float>(logits[std::size_t(token)] - std::log(sum))});
    std::stable_sort(all.begin(), all.end(), [](const TokenLogprob& a, const TokenLogprob& b) {
      return a.logprob > b.logprob;
    });
    return all;
  }

  Ids context(const Ids& prompt, std::span<const std::int32_t> output) const {
    Ids ids = prompt;
    ids.insert(ids.end(), output.begin(), output.end());
    return ids;
  }
};

SamplingParams beams(std::int32_t width, float length_penalty = 0,
                     std::int32_t early_stopping = 1) {
  SamplingParams params;
  params.beam_width = width;
  params.n = width;
  params.length_penalty = length_penalty;
  params.early_stopping = early_stopping;
  return params;
}

/// Runs to the end with what a sampler would hand over.
void run(BeamSearch& search, const Table& table, const Ids& prompt, std::int32_t width) {
  std::size_t open = 1;
  std::vector<Ids> outputs(1);
  while (!search.done()) {
    Candidates candidates;
    for (std::size_t b = 0; b < open; ++b) {
      candidates.push_back(table.next(table.context(prompt, search.tokens(static_cast<int>(b)))));
      const auto wanted = std::size_t(beam_candidates(width, table.end_ids.size()));
      candidates.back().resize(std::min(candidates.back().size(), wanted));
    }
    const std::vector<BeamSearch::Beam> next = search.advance(candidates);
    std::vector<Ids> extended;
    for (std::size_t b = 0; b < next.size(); ++b) {
      extended.push_back(outputs.at(std::size_t(next[b].parent)));
      extended.back().push_back(next[b].token);
      const std::span<const std::int32_t> said = search.tokens(static_cast<int>(b));
      ASSERT_EQ(extended.back(), Ids(said.begin(), said.end()));
      ASSERT_EQ(std::ssize(said), search.length());
    }
    outputs = std::move(extended);
    open = next.size();
    ASSERT_EQ(open == 0, search.done());
  }
}

Ids ids_of(const Json& json) {
  Ids ids;
  for (const Json& id : json.as_array("ids"))
    ids.push_back(static_cast<std::int32_t>(id.as_int("id")));
  return ids;
}

TEST(BeamSearch, GivesTheSequencesAndScoresOfTransformers) {
  const auto path = std::filesystem::path(TENON_TEST_DATA) / "beam" / "table.json";
  const Json cases = Json::parse(read_file(path), path.string());
  ASSERT_GE(cases.as_array("cases").size(), 200U);
  for (const Json& row : cases.as_array("cases")) {
    const auto number = [&row](const char* key) { return row.at(key, "case").as_double(key); };
    const Table table{static_cast<std::uint64_t>(number("seed")),
                      static_cast<std::int32_t>(number("vocab")), number("scale"),
                      number("end_bonus"), ids_of(row.at("end_ids", "case"))};
    SCOPED_TRACE("seed " + std::to_string(table.seed));
    const auto width = static_cast<std::int32_t>(number("beam_width"));
    SamplingParams params = beams(width, static_cast<float>(number("length_penalty")),
                                  static_cast<std::int32_t>(number("early_stopping")));
    params.n = static_cast<std::int32_t>(number("n"));
    const auto max_tokens = static_cast<std::int64_t>(number("max_tokens"));
    BeamSearch search(params, table.end_ids, max_tokens);
    run(search, table, ids_of(row.at("prompt_ids", "case")), width);
    const std::vector<BeamSearch::Finished> best = search.best(FinishReason::kCancelled);
    const Json::Array& expected = row.at("beams", "case").as_array("beams");
    ASSERT_EQ(best.size(), expected.size());
    for (std::size_t i = 0; i < best.size(); ++i) {
      EXPECT_EQ(best[i].tokens, ids_of(expected[i].at("ids", "beam"))) << "beam " << i;
      EXPECT_NEAR(best[i].score, expected[i].at("score", "beam").as_double("score"), 1e-4);
      ASSERT_EQ(best[i].logprobs.size(), best[i].tokens.size());
      const bool ended =
          std::count(table.end_ids.begin(), table.end_ids.end(), best[i].tokens.back()) != 0;
      EXPECT_EQ(best[i].reason, ended ? FinishReason::kEndId : FinishReason::kLength);
    }
  }
}

/// The best score of all outputs that end or have max_tokens tokens.
void try_everything(const Table& table, const Ids& prompt, const SamplingParams& params,
                    std::size_t max_tokens, const Ids& output, double logprob,
                    BeamSearch::Finished& best) {
  const std::vector<TokenLogprob> all = table.next(table.context(prompt, output));
  for (const TokenLogprob& token : all) {
    Ids longer = output;
    longer.push_back(token.token);
    const double sum = logprob + static_cast<double>(token.logprob);
    const bool ends = std::count(table.end_ids.begin(), table.end_ids.end(), token.token) != 0;
    if (!ends && longer.size() < max_tokens) {
      try_everything(table, prompt, params, max_tokens, longer, sum, best);
      continue;
    }
    const double score = sum / std::pow(double(longer.size()), double(params.length_penalty));
    if (score > best.score) best = {longer, {}, score, FinishReason::kEndId};
  }
}

TEST(BeamSearch, WideEnoughItFindsTheBestOfAll) {
  for (std::uint64_t seed = 1000; seed < 1020; ++seed)
    for (const float penalty : {-1.F, 0.F, 0.7F, 3.F}) {
      const Table table{seed, 5, 4, seed % 2 == 0 ? 1.5 : 0, {1, 4}};
      const SamplingParams params = beams(400, penalty);
      BeamSearch search(params, table.end_ids, 4);
      run(search, table, {2, 3}, params.beam_width);
      BeamSearch::Finished expected{{}, {}, -std::numeric_limits<double>::infinity(), {}};
      try_everything(table, {2, 3}, params, 4, {}, 0, expected);
      const std::vector<BeamSearch::Finished> best = search.best(FinishReason::kCancelled);
      EXPECT_EQ(best.at(0).tokens, expected.tokens) << seed;
      EXPECT_NEAR(best.at(0).score, expected.score, 1e-9);
      // 1 + 3 + 9 ways to go on, each with 2 ends, then 27 with 5 tokens.
      EXPECT_EQ(best.size(), (1U + 3U + 9U) * 2U + 27U * 5U);
      EXPECT_TRUE(std::is_sorted(best.begin(), best.end(),
                                 [](const auto& a, const auto& b) { return a.score > b.score; }));
    }
}

constexpr std::int32_t kEnd = 9;

TEST(BeamSearch, EarlyStoppingDecidesWhetherFinishedBeamsMayBeOvertaken) {
  for (const auto& [stopping, penalty] : {std::pair{1, 0}, {0, 0}, {-1, 0}, {0, -1}, {-1, -1}}) {
    BeamSearch search(beams(2, static_cast<float>(penalty), stopping), {kEnd}, 10);
    const Candidates first = {{{1, -0.1F}, {kEnd, -3.F}, {2, -4.F}}};
    EXPECT_EQ(search.advance(first).size(), 2U);
    const Candidates second = {{{kEnd, -0.5F}, {3, -0.6F}}, {{4, -1.F}}};
    search.advance(second);
    // The ends stand at -0.6 and -3, the likeliest open beam at -0.7; with a penalty of -1 each
    // times its length, which would be 10 at most.
    ASSERT_EQ(search.done(), stopping == 1);
    if (stopping != 1) {
      const Candidates third = {{{kEnd, -0.1F}, {5, -2.5F}}, {{6, -1.F}}};
      EXPECT_TRUE(search.advance(third).empty());  // none at -3.2 and below overtakes -0.8
    }
    const std::vector<BeamSearch::Finished> best = search.best(FinishReason::kCancelled);
    ASSERT_EQ(best.size(), 2U);
    EXPECT_NEAR(best[0].score, penalty == 0 ? -0.6 : -1.2, 1e-6);
    EXPECT_NEAR(best[1].score, stopping == 1 ? -3 : penalty == 0 ? -0.8 : -2.4, 1e-6);
  }
}

TEST(BeamSearch, AnEndBehindTheOpenBeamsIsNone) {
  BeamSearch search(beams(2), {kEnd}, 1);
  const Candidates first = {{{1, -0.1F}, {2, -0.2F}, {kEnd, -0.3F}}};
  search.advance(first);
  const std::vector<BeamSearch::Finished> best = search.best(FinishReason::kCancelled);
  ASSERT_EQ(best.size(), 2U);
  EXPECT_EQ(best[1].tokens, (Ids{2}));
}

TEST(BeamSearch, TheLengthThatFavoursTheOpenBeamsMostKeepsTheSearchOpen) {
  // One beam finished at -0.5, of one token; the open one stands at -1.2 with 10 tokens at most.
  const auto is_done = [](std::int32_t stopping, float penalty) {
    BeamSearch search(beams(1, penalty, stopping), {kEnd}, 10);
    const Candidates first = {{{kEnd, -0.5F}, {1, -1.2F}}};
    search.advance(first);
    return search.done();
  };
  EXPECT_TRUE(is_done(1, 0));
  EXPECT_TRUE(is_done(0, 0));
  EXPECT_TRUE(is_done(0, 1));    // -1.2 / 1 < -0.5
  EXPECT_TRUE(is_done(-1, 0));   // a sum only falls
  EXPECT_FALSE(is_done(-1, 1));  // -1.2 / 10 > -0.5
  EXPECT_TRUE(is_done(-1, -1));  // the shortest is the best there
  EXPECT_TRUE(is_done(1, 1));
}

TEST(BeamSearch, DiversityTakesFromLaterChildrenInTheRankingAlone) {
  SamplingParams params = beams(2);
  const Candidates first = {{{1, -1.F}, {2, -1.5F}}};
  const Candidates second = {{{3, -0.1F}, {4, -0.2F}}, {{5, -0.3F}, {6, -0.4F}}};
  BeamSearch plain(params, {}, 2);
  plain.advance(first);
  plain.advance(second);
  EXPECT_EQ(plain.best(FinishReason::kLength).at(1).tokens, (Ids{1, 4}));
  params.beam_search_diversity_rate = 1;
  BeamSearch diverse(params, {}, 2);
  const std::vector<BeamSearch::Beam> open = diverse.advance(first);
  EXPECT_DOUBLE_EQ(open.at(1).cumulative_logprob, -1.5);  // not -2.5
  diverse.advance(second);
  const std::vector<BeamSearch::Finished> best = diverse.best(FinishReason::kLength);
  EXPECT_EQ(best.at(0).tokens, (Ids{1, 3}));
  EXPECT_EQ(best.at(1).tokens, (Ids{2, 5}));
  EXPECT_NEAR(best.at(1).score, -1.8, 1e-6);
}

TEST(BeamSearch, StopTokensAndStopWordsFinishABeamAfterMinTokens) {
  SamplingParams params = beams(2);
  params.stop_token_ids = {7};
  params.stop_words = {{1, 2}, {}};
  params.min_tokens = 2;
  BeamSearch search(params, {}, 10);
  const Candidates first = {{{7, -0.5F}, {1, -0.6F}, {2, -4.F}}};
  EXPECT_EQ(search.advance(first).size(), 2U);  // too early for 7
  const Candidates second = {{{7, -0.5F}, {3, -3.F}, {4, -4.F}}, {{2, -0.5F}, {5, -3.F}}};
  EXPECT_TRUE(search.advance(second).empty());
  const std::vector<BeamSearch::Finished> best = search.best(FinishReason::kCancelled);
  ASSERT_EQ(best.size(), 2U);
  EXPECT_EQ(best[0].tokens, (Ids{7, 7}));
  EXPECT_EQ(best[1].tokens, (Ids{1, 2}));
  for (const BeamSearch::Finished& beam : best) EXPECT_EQ(beam.reason, FinishReason::kStopWords);
}

TEST(BeamSearch, OpenBeamsCountWhereARequestEndsEarly) {
  BeamSearch search(beams(2, 1), {kEnd}, 10);
  const std::vector<BeamSearch::Finished> none = search.best(FinishReason::kCancelled);
  ASSERT_EQ(none.size(), 1U);
  EXPECT_TRUE(none[0].tokens.empty());
  EXPECT_EQ(none[0].score, 0);
  const Candidates first = {{{1, -1.F}, {kEnd, -2.F}, {2, -3.F}}};
  EXPECT_EQ(search.advance(first).size(), 2U);
  const std::vector<BeamSearch::Finished> best = search.best(FinishReason::kTimedOut);
  ASSERT_EQ(best.size(), 2U);
  EXPECT_EQ(best[0].tokens, (Ids{1}));
  EXPECT_EQ(best[0].reason, FinishReason::kTimedOut);
  EXPECT_EQ(best[1].tokens, (Ids{kEnd}));
  EXPECT_EQ(best[1].reason, FinishReason::kEndId);
}

TEST(BeamSearch, FewerCandidatesThanBeamsLeaveFewerBeams) {
  BeamSearch search(beams(4), {}, 3);
  const Candidates first = {{{1, -1.F}, {2, -2.F}}};
  EXPECT_EQ(search.advance(first).size(), 2U);
  const Candidates second = {{}, {{3, -1.F}}};  // the first beam has no way on
  const std::vector<BeamSearch::Beam> open = search.advance(second);
  ASSERT_EQ(open.size(), 1U);
  EXPECT_EQ(open[0].parent, 1);
  const Candidates third = {{{4, -1.F}}};
  EXPECT_TRUE(search.advance(third).empty());
  const std::vector<BeamSearch::Finished> best = search.best(FinishReason::kCancelled);
  ASSERT_EQ(best.size(), 1U);
  EXPECT_EQ(best[0].tokens, (Ids{2, 3, 4}));
  EXPECT_EQ(best[0].reason, FinishReason::kLength);
}

TEST(BeamSearch, WhatIsNotFiniteIsNoContinuation) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  BeamSearch search(beams(2), {kEnd}, 5);
  const Candidates first = {{{1, nan}, {kEnd, nan}, {2, -1.F}, {3, infinity}, {4, -infinity}}};
  const std::vector<BeamSearch::Beam> open = search.advance(first);
  ASSERT_EQ(open.size(), 1U);
  EXPECT_EQ(open[0].token, 2);
  // No beam has a way on: it ends with what it has.
  const Candidates second = {{{1, nan}}};
  EXPECT_TRUE(search.advance(second).empty());
  EXPECT_TRUE(search.done());
  EXPECT_EQ(search.length(), 1);
  const std::vector<BeamSearch::Finished> best = search.best(FinishReason::kError);
  ASSERT_EQ(best.size(), 1U);
  EXPECT_EQ(best[0].tokens, (Ids{2}));
  EXPECT_EQ(best[0].reason, FinishReason::kError);
  EXPECT_EQ(search.tokens(0).size(), 1U);
}

TEST(BeamSearch, AnEmptyListAtOnceIsAnEmptyOutput) {
  BeamSearch search(beams(3), {kEnd}, 5);
  EXPECT_TRUE(search.advance(Candidates(1)).empty());
  EXPECT_TRUE(search.done());
  const std::vector<BeamSearch::Finished> best = search.best(FinishReason::kStopWords);
  ASSERT_EQ(best.size(), 1U);
  EXPECT_TRUE(best[0].tokens.empty());
}

TEST(BeamSearch, ListsThatAreNotThoseOfTheOpenBeamsAreRefused) {
  BeamSearch search(beams(2), {kEnd}, 5);
  EXPECT_THROW(search.advance({}), Error);
  EXPECT_THROW(search.advance(Candidates(2)), Error);
  EXPECT_THROW(search.tokens(1), Error);
  EXPECT_THROW(search.tokens(-1), Error);
  search.advance(Candidates(1));
  EXPECT_THROW(search.advance(Candidates(1)), Error);  // it is over
}

TEST(BeamSearch, ParametersOutOfRangeAreRefusedByName) {
  const auto refusal = [](auto change) -> std::string {
    SamplingParams params = beams(2);
    change(params);
    try {
      BeamSearch search(params, {}, params.max_tokens.value_or(5));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      return error.what();
    }
    return "accepted";
  };
  const auto names = [&refusal](const char* field, auto change) {
    const std::string message = refusal(change);
    EXPECT_EQ(message.rfind(field, 0), 0U) << message;
  };
  names("beam_width", [](SamplingParams& p) { p.beam_width = 0; });
  names("n", [](SamplingParams& p) { p.n = 0; });
  names("length_penalty", [](SamplingParams& p) { p.length_penalty = NAN; });
  names("beam_search_diversity_rate",
        [](SamplingParams& p) { p.beam_search_diversity_rate = INFINITY; });
  names("max_tokens", [](SamplingParams& p) { p.max_tokens = 0; });
}

TEST(BeamSearch, ALengthPenaltyOfAnySizeIsSorted) {
  for (const float penalty : {1e30F, -1e30F}) {
    BeamSearch search(beams(2, penalty, -1), {kEnd}, 3);
    Candidates lists = {{{1, 0.F}, {kEnd, -1.F}, {2, -2.F}}};
    while (!search.done()) lists.resize(search.advance(lists).size(), lists.front());
    EXPECT_EQ(search.best(FinishReason::kLength).size(), 2U);
  }
}

}  // namespace
}  // namespace tenon
