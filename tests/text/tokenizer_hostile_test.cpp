// Broken and hostile files end in an Error: cut, flipped, absurd. Never a crash or a hang.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "tenon/error.h"
#include "text/split_pattern.h"
#include "tokenizer_fixtures.h"

namespace tenon {
namespace {

void expect_error(const std::string& json, const std::string& part) {
  try {
    Tokenizer::from_json(json, "hostile.json");
    FAIL() << "expected an Error with: " << part;
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr(part));
    EXPECT_THAT(error.what(), testing::HasSubstr("hostile.json"));
  }
}

/// A whole tokenizer.json around one model, or with one member replaced.
std::string with(const std::string& model, const std::string& further = "") {
  return R"({"version":"1.0",)" + further + R"("model":)" + model + "}";
}

const char* const kTinyBpe = R"({"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]})";

TEST(HostileTokenizer, UnknownComponentsAreNamed) {
  expect_error(with(R"({"type":"Magic","vocab":{}})"), "Magic");
  expect_error(with(kTinyBpe, R"("normalizer":{"type":"Rot13"},)"), "Rot13");
  expect_error(with(kTinyBpe, R"("pre_tokenizer":{"type":"UnicodeScripts"},)"), "UnicodeScripts");
  expect_error(with(kTinyBpe, R"("decoder":{"type":"Oracle"},)"), "Oracle");
  expect_error(with(kTinyBpe, R"("post_processor":{"type":"Wrap"},)"), "Wrap");
  expect_error(with(R"({"type":"BPE","dropout":0.1,"vocab":{},"merges":[]})"), "dropout");
}

TEST(HostileTokenizer, AbsurdVocabulariesAreRefused) {
  expect_error(with(R"({"type":"BPE","vocab":{"a":1000000000},"merges":[]})"), "1000000000");
  expect_error(with(R"({"type":"BPE","vocab":{"a":-1},"merges":[]})"), "-1");
  expect_error(with(R"({"type":"BPE","vocab":{"a":1,"b":1},"merges":[]})"), "stands twice");
  expect_error(with(R"({"type":"BPE","vocab":{"a":0},"merges":["a b"]})"), "\"b\"");
  expect_error(with(R"({"type":"BPE","vocab":{"a":0},"merges":["a"]})"), "merge");
  expect_error(with(R"({"type":"BPE","vocab":{"a":0},"merges":[["a"]]})"), "merge");
  expect_error(with(R"({"type":"Unigram","unk_id":7,"vocab":[["a",0.0]]})"), "unk_id");
  expect_error(with(R"({"type":"Unigram","vocab":[["a"]]})"), "score");
  expect_error(with(R"({"type":"WordPiece","vocab":[1,2]})"), "object");
  expect_error(R"({"version":"1.0"})", "model");
  expect_error(std::string(300, '['), "hostile.json");
}

TEST(HostileTokenizer, BadPatternsAreRefused) {
  const auto split = [](const std::string& regex) {
    return with(kTinyBpe, R"("pre_tokenizer":{"type":"Split","behavior":"Isolated","invert":false,)"
                          R"("pattern":{"Regex":")" +
                              regex + R"("}},)");
  };
  expect_error(split("("), "group");
  expect_error(split("[a"), "");
  expect_error(split("a)"), "group");
  expect_error(split("*"), "quantifier");
  expect_error(split("(a)\\\\1"), "back reference");
  expect_error(split("\\\\p{Klingon}"), "Klingon");
  expect_error(split("[z-a]"), "backwards");
  expect_error(split("\\\\x{FFFFFFFF}"), "U+10FFFF");
  expect_error(split("(?<=a+)b"), "");
  std::string deep;
  for (int i = 0; i < 200; ++i) deep += "(";
  expect_error(split(deep), "deep");
}

TEST(HostileTokenizer, CatastrophicPatternsEndInAnError) {
  const SplitPattern pattern = SplitPattern::regex("(a+)+$|(?:a|a)*b", "test");
  std::vector<TextRange> matches;
  try {
    pattern.find_all(std::string(200, 'a') + "c", matches);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kResourceExhausted);
  }
}

TEST(HostileTokenizer, CutAndFlippedJsonNeverCrashes) {
  std::mt19937 random(1);
  for (const char* const name : {"llama3", "llama2", "bert_uncased", "t5_whitespace", "phi3"}) {
    const std::string good = test::fixture(std::string(name) + ".json");
    for (int i = 0; i < 150; ++i) {
      std::string bad = good;
      if (i % 3 == 0) bad.resize(random() % bad.size());
      // Most of the interesting structure stands in the first few kilobytes.
      for (unsigned k = 0; k < random() % 4 + 1 && !bad.empty(); ++k)
        bad[random() % std::min<std::size_t>(bad.size(), i % 2 == 0 ? 3000 : bad.size())] ^=
            static_cast<char>(1u << random() % 7);
      try {
        const auto tokenizer = Tokenizer::from_json(bad, "flipped");
        const auto ids = tokenizer->encode("Hello, w\xC3\xB6rld! <s> 123\n");
        tokenizer->decode(ids);
      } catch (const Error&) {
      }
    }
  }
}

TEST(HostileTokenizer, CutAndFlippedSentencePieceNeverCrashes) {
  std::mt19937 random(2);
  for (const char* const name : {"sp_llama", "sp_gemma", "sp_t5", "sp_unigram"}) {
    const std::string good = test::fixture(std::string(name) + ".model");
    for (int i = 0; i < 200; ++i) {
      std::string bad = good;
      if (i % 4 == 0) bad.resize(random() % bad.size());
      for (unsigned k = 0; k < random() % 6 + 1 && !bad.empty(); ++k)
        bad[random() % bad.size()] ^= static_cast<char>(1u << random() % 8);
      try {
        const auto tokenizer = Tokenizer::from_sentencepiece(std::as_bytes(std::span(bad)), "x");
        const auto ids = tokenizer->encode("Hello, w\xC3\xB6rld! <s> 123\n \xEF\xBC\xA1");
        tokenizer->decode(ids);
      } catch (const Error&) {
      }
    }
  }
}

TEST(HostileTokenizer, GgufDataIsChecked) {
  GgufTokenizerData data;
  data.model = "gpt2";
  data.pre = "qwen2";
  EXPECT_THROW(Tokenizer::from_gguf(data), Error);  // no tokens
  data.tokens = {"a", "b", "ab", ""};
  data.merges = {"a b"};
  EXPECT_EQ(Tokenizer::from_gguf(data)->encode("ab", false), std::vector<std::int32_t>{2});
  data.token_types = {1};
  EXPECT_THROW(Tokenizer::from_gguf(data), Error);
  data.token_types.clear();
  data.bos_id = 4;
  EXPECT_THROW(Tokenizer::from_gguf(data), Error);
  data.bos_id.reset();
  data.pre = "martian";
  EXPECT_THROW(Tokenizer::from_gguf(data), Error);
  data.pre = "qwen2";
  data.merges = {"a"};
  EXPECT_THROW(Tokenizer::from_gguf(data), Error);
  data.merges = {"a b"};
  data.tokens[3] = "a";
  EXPECT_THROW(Tokenizer::from_gguf(data), Error);
  data.model = "t5";
  data.tokens = {"<unk>", "a"};
  data.precompiled_charsmap = std::string("\xff\xff\xff\x7f", 4);
  EXPECT_THROW(Tokenizer::from_gguf(data), Error);
}

}  // namespace
}  // namespace tenon
