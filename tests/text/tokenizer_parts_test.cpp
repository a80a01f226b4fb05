// The parts beneath: tries, sets, normalization forms, patterns, streaming byte by byte.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "core/utf8.h"
#include "text/base64.h"
#include "text/bpe_merge.h"
#include "text/byte_level.h"
#include "text/byte_trie.h"
#include "text/code_points.h"
#include "text/decoder.h"
#include "text/split_pattern.h"
#include "text/unicode.h"

namespace tenon {
namespace {

using testing::ElementsAre;

std::vector<std::string> matches(const std::string& pattern, const std::string& text) {
  std::vector<TextRange> ranges;
  SplitPattern::regex(pattern, "test").find_all(text, ranges);
  std::vector<std::string> out;
  for (const TextRange& range : ranges)
    out.push_back(text.substr(range.begin, range.end - range.begin));
  return out;
}

TEST(SplitPattern, MeansWhatOnigurumaMeans) {
  EXPECT_THAT(matches(R"(\p{L}+|\d)", "ab1é中2"), ElementsAre("ab", "1", "é中", "2"));
  EXPECT_THAT(matches(R"(\s+$)", "a  \n b \n\n c  "), ElementsAre("  ", " \n", "  "));
  EXPECT_THAT(matches(R"(b$)", "b\nb"), ElementsAre("b", "b"));  // $ holds at every line's end
  EXPECT_THAT(matches("^b", "b\nb"), ElementsAre("b", "b"));
  EXPECT_THAT(matches(R"([^(\s|[.,])]+)", "a(b.c d|e"), ElementsAre("a", "b", "c", "d", "e"));
  EXPECT_THAT(matches("[a-z&&[^aeiou]]+", "hello"), ElementsAre("h", "ll"));
  EXPECT_THAT(matches("(?i:'S)", "'s 'S '\xC5\xBF"), ElementsAre("'s", "'S", "'\xC5\xBF"));
  EXPECT_THAT(matches(R"(\bé\w*)", "é aé éa"), ElementsAre("é", "éa"));
  EXPECT_THAT(matches("a{2}+", "aaaaa"), ElementsAre("aaaa"));  // repeats the interval
  EXPECT_THAT(matches("a{,2}b", "aaab"), ElementsAre("aab"));
  EXPECT_THAT(matches(R"(\p{Han}+)", "日本ーカ"), ElementsAre("日本"));
  EXPECT_THAT(matches("x*", "axx"), ElementsAre("", "xx"));
}

TEST(SplitPattern, LineEndSpacesEqualThePatternTheyStandFor) {
  // The hand-written search against the same pattern in a spelling that goes through PCRE2.
  std::mt19937 random(5);
  const char* const units[] = {" ", "\n", "\t", "a", "\xE3\x80\x80", "\r"};
  for (int i = 0; i < 2000; ++i) {
    std::string text;
    for (unsigned k = 0; k < random() % 12; ++k) text += units[random() % 6];
    EXPECT_EQ(matches(R"(\s+$)", text), matches(R"([\s]+$)", text)) << text;
  }
}

TEST(ByteTrie, FindsTheLongestPrefix) {
  const ByteTrie trie({{"a", 0}, {"abc", 1}, {"abd", 2}, {"", 3}, {"\xFF", 4}});
  EXPECT_EQ(trie.longest_prefix("abcd").value, 1);
  EXPECT_EQ(trie.longest_prefix("abx").length, 1u);
  EXPECT_EQ(trie.longest_prefix("x").length, 0u);
  EXPECT_EQ(trie.longest_prefix("\xFF").value, 4);
  EXPECT_TRUE(ByteTrie().empty());
}

TEST(CodePointSet, Algebra) {
  const CodePointSet a(U'a', U'f'), b(U'd', U'k');
  EXPECT_EQ(a | b, CodePointSet(U'a', U'k'));
  EXPECT_EQ(a & b, CodePointSet(U'd', U'f'));
  EXPECT_EQ(~~a, a);
  EXPECT_TRUE((a & ~a).empty());
  const CodePointBitmap bitmap(a | CodePointSet(U'\x300', U'\x4FF'));
  for (char32_t c = 0; c < 0x600; ++c)
    EXPECT_EQ(bitmap.contains(c), (c >= 'a' && c <= 'f') || (c >= 0x300 && c <= 0x4FF));
}

TEST(Unicode, NormalizationFormsAreStable) {
  using unicode::Form;
  std::mt19937 random(3);
  for (int i = 0; i < 300; ++i) {
    std::string text;
    for (int k = 0; k < 30; ++k) utf8::append(text, random() % (k % 3 == 0 ? 0x3000 : 0x400) + 1);
    for (const Form form : {Form::kNfc, Form::kNfd, Form::kNfkc, Form::kNfkd}) {
      const std::string once = unicode::normalize(text, form);
      EXPECT_EQ(unicode::normalize(once, form), once);
    }
    EXPECT_EQ(unicode::normalize(unicode::normalize(text, Form::kNfd), Form::kNfc),
              unicode::normalize(text, Form::kNfc));
  }
  EXPECT_EQ(unicode::normalize("e\xCC\x81", Form::kNfc), "\xC3\xA9");
  EXPECT_EQ(unicode::normalize("\xEA\xB0\x81", Form::kNfd), "\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8");
  EXPECT_EQ(unicode::lower_case("\xC4\xB0"), "i\xCC\x87");
}

TEST(BpeMerge, LongAndShortPiecesMergeAlike) {
  // Random merge tables over a tiny alphabet: the scan and the heap must agree.
  std::mt19937 random(11);
  for (int round = 0; round < 300; ++round) {
    std::uint32_t ranks[6][6];
    for (auto& row : ranks)
      for (std::uint32_t& rank : row) rank = random() % 3 == 0 ? BpeMerge::kNone : random() % 20;
    const auto lookup = [&](const BpeSymbol& l, const BpeSymbol& r) -> BpeMerge {
      const std::uint32_t rank = ranks[l.id % 6][r.id % 6];
      if (rank == BpeMerge::kNone || l.id + r.id > 40) return {};
      return {rank, l.id + r.id};
    };
    std::vector<BpeSymbol> a, b;
    for (std::uint32_t i = 0; i < 60; ++i)
      a.push_back({static_cast<std::int32_t>(random() % 4 + 1), i, i + 1});
    b = a;
    bpe_detail::merge_short(a, lookup);
    bpe_detail::merge_long(b, lookup);
    ASSERT_EQ(a.size(), b.size());
    for (std::size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i].id, b[i].id);
  }
}

TEST(ByteLevel, RoundTrips) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  EXPECT_EQ(from_byte_level(to_byte_level(bytes)), bytes);
  EXPECT_EQ(from_byte_level("\xE4\xB8\xAD"), std::nullopt);
  EXPECT_EQ(parse_byte_piece("<0xaF>"), 0xAF);
  EXPECT_EQ(parse_byte_piece("<0xG0>"), std::nullopt);
  EXPECT_EQ(decode_base64(encode_base64(bytes), "x"), bytes);
}

TEST(Utf8Assembler, HandsOutWholeCharactersOnly) {
  std::mt19937 random(4);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes;
    const std::string samples[] = {"a", "é", "中", "😀", "\xFF", "\xE4", "\xF0\x9F", "\x80"};
    for (int i = 0; i < 8; ++i) bytes += samples[random() % 8];
    Utf8Assembler assembler;
    std::string out;
    for (const char c : bytes) {
      assembler.add(std::string_view(&c, 1), out);
      EXPECT_TRUE(utf8::is_valid(out));
    }
    assembler.finish(out);
    EXPECT_EQ(out, utf8::replace_invalid(bytes));
  }
}

}  // namespace
}  // namespace tenon
