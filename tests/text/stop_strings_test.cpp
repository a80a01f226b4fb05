// Stop strings: hold-back across pieces, earliest match, agreement with a naive search.
// SPDX-License-Identifier: Apache-2.0
#include "text/stop_strings.h"

#include <gtest/gtest.h>

#include <chrono>
#include <random>

#include "tenon/error.h"

namespace tenon {
namespace {

struct Outcome {
  std::string text;
  bool stopped = false;
  bool operator==(const Outcome&) const = default;
};

Outcome feed(StopStrings& stops, const std::vector<std::string>& pieces) {
  Outcome outcome;
  for (const std::string& piece : pieces) {
    const auto result = stops.push(piece);
    outcome.text += result.text;
    if (result.stopped) return {outcome.text, true};
  }
  const auto rest = stops.flush();
  return {outcome.text + rest.text, rest.stopped};
}

/// The stop that begins first; of those the shortest.
Outcome naive(const std::string& text, const std::vector<std::string>& stops, bool include) {
  for (std::size_t at = 0; at < text.size(); ++at) {
    std::size_t best = std::string::npos;
    for (const std::string& stop : stops)
      if (text.compare(at, stop.size(), stop) == 0) best = std::min(best, stop.size());
    if (best != std::string::npos) return {text.substr(0, at + (include ? best : 0)), true};
  }
  return {text, false};
}

TEST(StopStrings, FindsAStopAcrossPieces) {
  StopStrings stops({"<|end|>"});
  EXPECT_EQ(stops.push("Hello <").text, "Hello ");
  EXPECT_EQ(stops.push("|en").text, "");
  const auto last = stops.push("d|> more");
  EXPECT_TRUE(last.stopped);
  EXPECT_EQ(last.text, "");
  EXPECT_EQ(stops.matched(), 0U);
  EXPECT_TRUE(stops.push("x").stopped);
  EXPECT_EQ(stops.push("x").text, "");
  EXPECT_EQ(stops.flush().text, "");
}

TEST(StopStrings, GivesBackWhatOnlyBeganLikeAStop) {
  StopStrings stops({"abab"});
  EXPECT_EQ(stops.push("xaba").text, "x");
  EXPECT_EQ(stops.push("c").text, "abac");
  EXPECT_EQ(stops.push("ab").text, "");
  const auto rest = stops.flush();
  EXPECT_EQ(rest.text, "ab");
  EXPECT_FALSE(rest.stopped);
}

TEST(StopStrings, TheEarliestBeginningWins) {
  StopStrings longer({"abcd", "bc"});
  EXPECT_EQ(feed(longer, {"xabcd"}), (Outcome{"x", true}));
  EXPECT_EQ(longer.matched(), 0U);
  StopStrings shorter({"abcd", "bc"});
  EXPECT_EQ(feed(shorter, {"xab", "ce"}), (Outcome{"xa", true}));
  EXPECT_EQ(shorter.matched(), 1U);
  StopStrings at_end({"abcd", "bc"});
  EXPECT_EQ(feed(at_end, {"xabc"}), (Outcome{"xa", true}));
  StopStrings same_start({"ab", "abc"});
  EXPECT_EQ(feed(same_start, {"abc"}), (Outcome{"", true}));
  EXPECT_EQ(same_start.matched(), 0U);
}

TEST(StopStrings, CanIncludeTheStop) {
  StopStrings stops({"\n\n", "END"}, true);
  EXPECT_EQ(feed(stops, {"one\n", "\ntwo"}), (Outcome{"one\n\n", true}));
}

TEST(StopStrings, NoStopsPassEverything) {
  StopStrings stops({});
  EXPECT_EQ(stops.push("anything").text, "anything");
  EXPECT_FALSE(stops.flush().stopped);
}

TEST(StopStrings, RefusesAnEmptyStop) { EXPECT_THROW(StopStrings({"a", ""}), Error); }

TEST(StopStrings, AgreesWithANaiveSearch) {
  std::mt19937 random(7);
  const auto word = [&](std::size_t longest, int letters) {
    std::string text(1 + random() % longest, 'a');
    for (char& c : text) c = static_cast<char>('a' + random() % static_cast<unsigned>(letters));
    return text;
  };
  for (int round = 0; round < 20000; ++round) {
    const int letters = 1 + static_cast<int>(random() % 3);
    std::vector<std::string> stops(1 + random() % 4);
    for (std::string& stop : stops) stop = word(6, letters);
    const std::string text = word(30, letters + 1);
    std::vector<std::string> pieces;
    for (std::size_t i = 0; i < text.size();) {
      const std::size_t length = random() % 5;
      pieces.push_back(text.substr(i, length));
      i += length;
    }
    const bool include = random() % 2 == 0;
    StopStrings matcher(stops, include);
    const Outcome got = feed(matcher, pieces);
    const Outcome expected = naive(text, stops, include);
    ASSERT_EQ(got.text, expected.text) << text << " stop " << stops[0];
    ASSERT_EQ(got.stopped, expected.stopped) << text;
  }
}

TEST(StopStrings, HoldsBackNoMoreThanMayStillMatch) {
  StopStrings stops({"aab", "xyz"});
  std::string shown;
  for (const char c : std::string("aaaaaaaaxyxyxy")) shown += stops.push({&c, 1}).text;
  EXPECT_EQ(shown, "aaaaaaaaxyxy");
}

TEST(StopStrings, IsLinear) {
  const std::string unit(5000, 'a');
  StopStrings stops({unit + "b", unit.substr(1) + "c", "aac" + unit});
  const auto begin = std::chrono::steady_clock::now();
  std::size_t shown = 0;
  for (int i = 0; i < 400; ++i) shown += stops.push(unit).text.size();
  shown += stops.flush().text.size();
  EXPECT_EQ(shown, 400 * unit.size());
  // Two million bytes; a search that starts over at each would need ten thousand million steps.
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

}  // namespace
}  // namespace tenon
