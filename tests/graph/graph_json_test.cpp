// The stored form: there and back, and what hostile text does (an Error, nothing else).
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "graph/partition.h"
#include "mini_llama.h"
#include "tenon/error.h"

namespace tenon {
namespace {

using testing::HasSubstr;

Graph read(const std::string& text, bool stored = true) {
  return graph_from_json(Json::parse(text, "graph.json"), "graph.json", stored);
}

TEST(GraphJson, RoundTrip) {
  const Graph graph = build({.qkv_bias = true, .row_bias = true, .relative_bias = true});
  const std::string text = to_json(graph).dump(1);
  const Graph back = read(text);
  EXPECT_EQ(print(back), print(graph));
  EXPECT_EQ(to_json(back).dump(1), text);
  EXPECT_EQ(back.weights[0].marks, graph.weights[0].marks);
}

TEST(GraphJson, RoundTripOfARanksGraph) {
  const Graph part = partition(build({}), {.tp_size = 3, .pp_size = 2}, 4);
  const std::string text = to_json(part).dump();
  EXPECT_EQ(to_json(read(text, false)).dump(), text);
  EXPECT_THROW(read(text), Error);
}

/// Error after the first `from` in the stored form was replaced.
std::string after(const std::string& from, const std::string& to) {
  std::string text = to_json(build({})).dump();
  const auto at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  text.replace(at, from.size(), to);
  try {
    read(text);
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("graph.json"));
    return error.what();
  }
  return "no error";
}

TEST(GraphJson, ErrorsNameThePlace) {
  EXPECT_THAT(after("\"layers\":3", "\"layers\":3000000"), HasSubstr("layers is 3000000"));
  EXPECT_THAT(after("\"layers\":3", "\"layer\":3"), HasSubstr("unknown member \"layer\""));
  EXPECT_THAT(after("\"granule\":1", "\"granule\":\"1\""), HasSubstr("axis \"features\""));
  EXPECT_THAT(after("\"units\":26", "\"units\":27"), HasSubstr("does not fit axis"));
  EXPECT_THAT(after("\"inputs\":[0,1,2]", "\"inputs\":[0,1,99999999999]"), HasSubstr("range"));
  EXPECT_THAT(after("\"inputs\":[0,1,2]", "\"inputs\":[0,1,-3]"), HasSubstr("range"));
  EXPECT_THAT(after("float32 [T, 20]", "float32 [T, 21]"), HasSubstr("gives"));
  EXPECT_THAT(after("float32 [T, 20]", "complex [T, 20]"), HasSubstr("values 3: type"));
  EXPECT_THAT(after("\"op\":\"embedding\"", "\"op\":\"embeding\""),
              HasSubstr("nodes 0: unknown op \"embeding\"; did you mean \"embedding\""));
  EXPECT_THAT(after("\"shape\":[31,20]", "\"shape\":[31000000000,20]"),
              HasSubstr("embedding.weight"));
  EXPECT_THAT(after("\"op\":\"embedding\"", "\"op\":\"all_reduce\""), HasSubstr("row_begin"));
  EXPECT_THAT(after("\"extent_per_unit\":1", "\"extent_per_unit\":9223372036854775807"),
              HasSubstr("does not fit axis"));
}

TEST(GraphJson, MutatedTextEndsInAnErrorOrAGraph) {
  const std::string good = to_json(build({.layers = 1})).dump();
  std::mt19937 random(5);
  const std::string letters = "0123456789-,:[]{}\"abeklnrstuxT.";
  int errors = 0;
  for (int round = 0; round < 4000; ++round) {
    std::string text = good;
    for (unsigned edits = 1 + random() % 3; edits > 0; --edits) {
      const std::size_t at = random() % text.size();
      switch (random() % 3) {
        case 0: text[at] = letters[random() % letters.size()]; break;
        case 1: text.erase(at, 1 + random() % 5); break;
        default: text.insert(at, 1, letters[random() % letters.size()]); break;
      }
    }
    try {
      const Graph graph = read(text);
      partition(graph, {.tp_size = 2}, 1);
    } catch (const Error& error) {
      EXPECT_NE(error.code(), ErrorCode::kInternal) << error.what();
      ++errors;
    }
  }
  EXPECT_GT(errors, 3000);
}

TEST(GraphJson, MutatedNumbersEndInAnErrorOrAGraph) {
  const std::string good =
      to_json(build({.layers = 1, .alibi = true, .relative_bias = true})).dump();
  std::vector<std::size_t> digits;
  for (std::size_t i = 1; i < good.size(); ++i)
    if (std::isdigit(good[i]) != 0 && std::isalnum(good[i - 1]) == 0 && good[i - 1] != '.')
      digits.push_back(i);
  for (const std::size_t at : digits)
    for (const char* number : {"-1", "0", "7", "2147483648", "4611686018427387904",
                               "9223372036854775807", "-9223372036854775808", "1e300", "0.5"}) {
      std::string text = good;
      std::size_t end = at;
      while (std::isdigit(text[end]) != 0) ++end;
      text.replace(at, end - at, number);
      try {
        const Graph graph = read(text);
        print(graph);
        partition(graph, {.tp_size = 2}, 0);
      } catch (const Error& error) {
        EXPECT_NE(error.code(), ErrorCode::kInternal) << error.what();
      }
    }
}

}  // namespace
}  // namespace tenon
