// The tokenizer's own promises: repair of input, special tokens, no quadratic case, directories.
// SPDX-License-Identifier: Apache-2.0
#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <thread>

#include <unistd.h>

#include "core/utf8.h"
#include "tenon/error.h"
#include "text/stream_decoder.h"
#include "tokenizer_fixtures.h"

namespace tenon {
namespace {

using testing::ElementsAreArray;

std::shared_ptr<const Tokenizer> load_gguf(const char* pre) {
  const Json expected = test::fixture_json("gguf.expected.json");
  GgufTokenizerData data = gguf_tokenizer_from_json(expected.at("data", "").dump(), "fixture");
  data.pre = pre;
  return Tokenizer::from_gguf(data);
}

TEST(Tokenizer, InvalidUtf8CountsAsReplacementCharacter) {
  for (const char* const name : {"llama3", "llama2", "bert_uncased", "t5"}) {
    const auto tokenizer = test::load_json(name);
    const std::string bad = "a\xFFz\xE4\xBD\xC0q\xF0\x9F\x98";
    EXPECT_EQ(tokenizer->encode(bad), tokenizer->encode(utf8::replace_invalid(bad))) << name;
  }
}

TEST(Tokenizer, SpecialTokensInTextAreTextWhereNotParsed) {
  const auto tokenizer = load_gguf("llama-bpe");
  const std::string text = "<|im_start|>hi<|im_end|>";
  const auto parsed = tokenizer->encode(text, false, true);
  const auto plain = tokenizer->encode(text, false, false);
  EXPECT_EQ(parsed.front(), 1);
  EXPECT_EQ(parsed.back(), 2);
  EXPECT_EQ(std::count(plain.begin(), plain.end(), 1), 0);
  EXPECT_EQ(tokenizer->decode(plain), text);
  EXPECT_EQ(tokenizer->decode(parsed), "hi");
  EXPECT_EQ(tokenizer->decode(parsed, false), text);
}

TEST(Tokenizer, KnowsItsPieces) {
  const auto tokenizer = load_gguf("qwen2");
  EXPECT_EQ(tokenizer->bos_id(), 1);
  EXPECT_EQ(tokenizer->eos_id(), 2);
  EXPECT_EQ(tokenizer->token_id("<|im_end|>"), 2);
  EXPECT_EQ(tokenizer->token_text(2), "<|im_end|>");
  EXPECT_TRUE(tokenizer->is_special(2));
  EXPECT_FALSE(tokenizer->is_special(300));
  EXPECT_EQ(tokenizer->token_id("no such piece"), std::nullopt);
  EXPECT_EQ(tokenizer->token_text(-1), "");
  EXPECT_EQ(tokenizer->token_text(1 << 30), "");
  EXPECT_EQ(tokenizer->decode(std::vector<std::int32_t>{-1, 1 << 30}), "");
}

TEST(Tokenizer, MillionEqualCharactersTakeNoQuadraticTime) {
#ifdef NDEBUG
  constexpr int kCount = 1'000'000;
#else
  constexpr int kCount = 100'000;  // with sanitizers, all this would take minutes
#endif
  double slowest = 0;
  std::vector<std::pair<std::string, std::shared_ptr<const Tokenizer>>> all;
  for (const char* const name : {"gpt2", "llama3", "llama2", "gemma", "deepseek_llm", "deepseek_v3",
                                 "t5", "bert_uncased", "bpe_suffix", "neox_phi", "tekken"})
    all.emplace_back(name, test::load_json(name));
  for (const char* const name : {"sp_llama", "sp_gemma", "sp_unigram"})
    all.emplace_back(name, test::load_sentencepiece(name));
  for (const char* const unit : {" ", "a", "1", "!", "\n", "A", "\xE4\xB8\xAD", "\xF0\x9F\x98\x80",
                                 "\xCC\x81", "\xE2\x96\x81", " \xE4\xB8\xAD"}) {
    std::string text;
    for (int i = 0; i < kCount; ++i) text += unit;
    for (const auto& [name, tokenizer] : all) {
      const auto begin = std::chrono::steady_clock::now();
      const std::size_t count = tokenizer->encode(text, false).size();
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
      slowest = std::max(slowest, seconds.count());
      // A quadratic case would take hours.
      EXPECT_LT(seconds.count(), 60.0) << name << ": \"" << unit << "\" again and again";
      EXPECT_LE(count, text.size() + 2);
    }
  }
  RecordProperty("slowest_seconds", std::to_string(slowest));
  std::string spaces(kCount, ' ');
  EXPECT_GT(test::load_json("deepseek_llm")->encode("x" + spaces + "\xE4\xB8\xAD").size(), 2u);
}

TEST(Tokenizer, ManyThreadsEncodeAlike) {
  const auto tokenizer = test::load_json("llama3");
  std::vector<std::vector<std::int32_t>> expected;
  for (const std::string& text : test::texts()) expected.push_back(tokenizer->encode(text));
  std::vector<int> failures(4);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      const auto fresh = t % 2 == 0 ? tokenizer : test::load_json("llama3");
      for (std::size_t i = 0; i < expected.size(); ++i)
        failures[static_cast<std::size_t>(t)] += fresh->encode(test::texts()[i]) != expected[i];
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(failures, testing::Each(0));
}

TEST(Tokenizer, BertOfGgufIsBertOfJson) {
  const Json json = test::fixture_json("bert_uncased.json");
  GgufTokenizerData data;
  data.model = "bert";
  const Json::Object& vocabulary = json.at("model", "").at("vocab", "").as_object("vocab");
  data.tokens.resize(vocabulary.size());
  data.token_types.assign(vocabulary.size(), 1);
  for (const auto& [piece, id] : vocabulary) {
    const auto i = static_cast<std::size_t>(id.as_int("id"));
    const bool special = piece.front() == '[' && piece.size() > 1;
    data.token_types[i] = special ? 3 : 1;
    data.tokens[i] = special                   ? piece
                     : piece.starts_with("##") ? piece.substr(2)
                                               : "\xE2\x96\x81" + piece;
  }
  data.unk_id = 1;
  data.bos_id = 2;
  data.sep_id = 3;
  const auto gguf = Tokenizer::from_gguf(data);
  const auto reference = test::load_json("bert_uncased");
  for (const std::string& text : test::texts()) {
    if (text.find('[') != std::string::npos) continue;
    EXPECT_EQ(gguf->encode(text), reference->encode(text));
  }
}

class Directory : public testing::Test {
 protected:
  void SetUp() override {
    const auto* const info = testing::UnitTest::GetInstance()->current_test_info();
    path_ = std::filesystem::temp_directory_path() /
            ("tenon_tokenizer_" + std::string(info->name()) + std::to_string(::getpid()));
    std::filesystem::create_directories(path_);
  }
  void TearDown() override { std::filesystem::remove_all(path_); }
  void put(const std::string& name, const std::string& content) {
    std::ofstream(path_ / name, std::ios::binary) << content;
  }
  std::filesystem::path path_;
};

TEST_F(Directory, ReadsTokenizerJsonWithItsConfig) {
  put("tokenizer.json", test::fixture("llama2.json"));
  put("tokenizer_config.json",
      R"({"bos_token":{"content":"<s>"},"eos_token":"</s>","add_bos_token":false,)"
      R"("add_eos_token":true,"tokenizer_class":"LlamaTokenizerFast","pad_token":null})");
  const auto tokenizer = Tokenizer::load_directory(path_);
  EXPECT_EQ(tokenizer->bos_id(), 1);
  EXPECT_EQ(tokenizer->eos_id(), 2);
  EXPECT_EQ(tokenizer->pad_id(), std::nullopt);
  const auto ids = tokenizer->encode("hi");
  EXPECT_NE(ids.front(), 1);
  EXPECT_EQ(ids.back(), 2);
}

TEST_F(Directory, ReadsWhatAGgufLeftBehind) {
  const Json expected = test::fixture_json("gguf.expected.json");
  GgufTokenizerData data = gguf_tokenizer_from_json(expected.at("data", "").dump(), "fixture");
  data.pre = "smollm";
  put(kGgufTokenizerFile, gguf_tokenizer_to_json(data));
  const auto tokenizer = Tokenizer::load_directory(path_);
  const auto reference = Tokenizer::from_gguf(data);
  for (const std::string& text : test::texts())
    EXPECT_EQ(tokenizer->encode(text), reference->encode(text));
}

TEST_F(Directory, ReadsSentencePieceLast) {
  put("tokenizer.model", test::fixture("sp_llama.model"));
  put("tokenizer_config.json", R"({"add_bos_token":true,"add_eos_token":false})");
  const auto tokenizer = Tokenizer::load_directory(path_);
  EXPECT_EQ(tokenizer->encode("hi").front(), 1);
  std::filesystem::remove(path_ / "tokenizer.model");
  EXPECT_THROW(Tokenizer::load_directory(path_), Error);
}

}  // namespace
}  // namespace tenon
