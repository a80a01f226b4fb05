// Ids and texts equal those of the oracles, fixture by fixture and text by text.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "text/stream_decoder.h"
#include "tokenizer_fixtures.h"

namespace tenon {
namespace {

using test::fixture_json;
using test::ids_of;
using test::texts;

std::string stream(const std::shared_ptr<const Tokenizer>& tokenizer,
                   const std::vector<std::int32_t>& ids, bool skip) {
  StreamDecoder decoder(tokenizer, skip);
  std::string out;
  for (const std::int32_t id : ids) out += decoder.push(id);
  return out + decoder.finish();
}

class JsonOracle : public testing::TestWithParam<std::string> {};

TEST_P(JsonOracle, EncodesAndDecodesAsTokenizersDoes) {
  const auto tokenizer = test::load_json(GetParam());
  const Json expected = fixture_json(GetParam() + ".expected.json");
  const Json::Array& all = expected.at("ids", "").as_array("ids");
  ASSERT_EQ(all.size(), texts().size());
  std::size_t decoded_at = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::vector<std::int32_t> ids = ids_of(all[i]);
    EXPECT_THAT(tokenizer->encode(texts()[i]), testing::ElementsAreArray(ids))
        << "text " << i << ": \"" << texts()[i] << '"';
    if (ids.empty()) continue;
    const std::string& decoded =
        expected.at("decoded", "").as_array("")[decoded_at++].as_string("");
    EXPECT_EQ(tokenizer->decode(ids), decoded);
    EXPECT_EQ(stream(tokenizer, ids, true), decoded);
  }
  for (const Json& sample : expected.at("samples", "").as_array("samples")) {
    const std::vector<std::int32_t> ids = ids_of(sample.at("ids", ""));
    EXPECT_EQ(tokenizer->decode(ids, false), sample.at("text", "").as_string(""));
    EXPECT_EQ(tokenizer->decode(ids, true), sample.at("skip", "").as_string(""));
    EXPECT_EQ(stream(tokenizer, ids, false), tokenizer->decode(ids, false));
    EXPECT_EQ(stream(tokenizer, ids, true), tokenizer->decode(ids, true));
  }
}

INSTANTIATE_TEST_SUITE_P(Families, JsonOracle, testing::ValuesIn(test::fixture_names(".json")),
                         [](const auto& info) { return info.param; });

class SentencePieceOracle : public testing::TestWithParam<std::string> {};

TEST_P(SentencePieceOracle, EncodesAndDecodesAsSentencePieceDoes) {
  const auto tokenizer = test::load_sentencepiece(GetParam());
  const Json expected = fixture_json(GetParam() + ".expected.json");
  const Json::Array& all = expected.at("ids", "").as_array("ids");
  ASSERT_EQ(all.size(), texts().size());
  std::size_t decoded_at = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::vector<std::int32_t> ids = ids_of(all[i]);
    EXPECT_THAT(tokenizer->encode(texts()[i], false, false), testing::ElementsAreArray(ids))
        << "text " << i << ": \"" << texts()[i] << '"';
    if (ids.empty()) continue;
    const std::string& decoded =
        expected.at("decoded", "").as_array("")[decoded_at++].as_string("");
    EXPECT_EQ(tokenizer->decode(ids), decoded);
    EXPECT_EQ(stream(tokenizer, ids, true), decoded);
  }
  for (const Json& sample : expected.at("samples", "").as_array("samples")) {
    const std::vector<std::int32_t> ids = ids_of(sample.at("ids", ""));
    EXPECT_EQ(tokenizer->decode(ids), sample.at("text", "").as_string(""));
    EXPECT_EQ(stream(tokenizer, ids, true), tokenizer->decode(ids));
  }
}

INSTANTIATE_TEST_SUITE_P(Models, SentencePieceOracle,
                         testing::ValuesIn(test::fixture_names(".model")),
                         [](const auto& info) { return info.param; });

TEST(GgufTokenizer, EachPreTypeCutsAsItsFamilyDoes) {
  const Json expected = fixture_json("gguf.expected.json");
  GgufTokenizerData data =
      gguf_tokenizer_from_json(expected.at("data", "").dump(), "gguf.expected.json");
  for (const auto& [pre, all] : expected.at("ids", "").as_object("ids")) {
    data.pre = pre;
    const auto tokenizer = Tokenizer::from_gguf(data);
    for (std::size_t i = 0; i < texts().size(); ++i)
      EXPECT_THAT(tokenizer->encode(texts()[i], false),
                  testing::ElementsAreArray(ids_of(all.as_array(pre)[i])))
          << pre << ", text " << i << ": \"" << texts()[i] << '"';
  }
}

TEST(GgufTokenizer, SurvivesTheWayThroughItsJson) {
  const Json expected = fixture_json("gguf.expected.json");
  GgufTokenizerData data = gguf_tokenizer_from_json(expected.at("data", "").dump(), "x");
  data.pre = "qwen2";
  data.add_eos = true;
  data.pad_id = 3;
  data.scores.assign(data.tokens.size(), -0.125f);
  data.precompiled_charsmap = std::string("\0\1\2\xff", 4);
  EXPECT_EQ(gguf_tokenizer_from_json(gguf_tokenizer_to_json(data), "x"), data);
}

}  // namespace
}  // namespace tenon
