// SPDX-License-Identifier: Apache-2.0
#include "text/unicode.h"

#include <algorithm>
#include <iterator>
#include <unordered_map>
#include <utility>

#include "core/utf8.h"

namespace tenon::unicode {
namespace {

namespace data = unicode_data;

#define TENON_BITMAP(function, table)                                                   \
  const CodePointBitmap& function() {                                                   \
    static const CodePointBitmap bitmap(CodePointSet(data::table, data::table##_size)); \
    return bitmap;                                                                      \
  }

}  // namespace

TENON_BITMAP(white_space, kWhiteSpace)
TENON_BITMAP(word, kWord)
TENON_BITMAP(numeric, kNumeric)
TENON_BITMAP(punctuation, kPunctuation)
TENON_BITMAP(combining_mark, kCombiningMark)
TENON_BITMAP(bert_control, kBertControl)
TENON_BITMAP(bert_accent, kBertAccent)

#undef TENON_BITMAP

namespace {

/// Code points whose category's name begins with `prefix` ("L" or "Lu"); empty prefix: all.
CodePointSet category(std::string_view prefix) {
  std::vector<CodePointRange> ranges;
  for (std::size_t i = 0; i < data::kCategoryRuns_size; ++i) {
    const std::uint32_t run = data::kCategoryRuns[i];
    if (!std::string_view(data::kCategoryNames[run & 0xFF]).starts_with(prefix)) continue;
    const char32_t last =
        i + 1 < data::kCategoryRuns_size ? (data::kCategoryRuns[i + 1] >> 8) - 1 : kMaxCodePoint;
    if (!ranges.empty() && ranges.back().last + 1 == run >> 8)
      ranges.back().last = last;
    else
      ranges.push_back({run >> 8, last});
  }
  return CodePointSet(ranges.data(), ranges.size());
}

struct NamedTable {
  const char* name;  // lower case without separators
  const CodePointRange* ranges;
  std::size_t size;
};

#define TENON_NAMED(name, table) {name, data::table, data::table##_size}

const NamedTable kNamed[] = {
    TENON_NAMED("space", kRegexSpace),
    TENON_NAMED("whitespace", kRegexSpace),
    TENON_NAMED("word", kRegexWord),
    TENON_NAMED("digit", kRegexDigit),
    TENON_NAMED("han", kScriptHan),
    TENON_NAMED("hiragana", kScriptHiragana),
    TENON_NAMED("katakana", kScriptKatakana),
    TENON_NAMED("hangul", kScriptHangul),
    TENON_NAMED("latin", kScriptLatin),
    TENON_NAMED("greek", kScriptGreek),
    TENON_NAMED("cyrillic", kScriptCyrillic),
    TENON_NAMED("armenian", kScriptArmenian),
    TENON_NAMED("hebrew", kScriptHebrew),
    TENON_NAMED("arabic", kScriptArabic),
    TENON_NAMED("devanagari", kScriptDevanagari),
    TENON_NAMED("bengali", kScriptBengali),
    TENON_NAMED("tamil", kScriptTamil),
    TENON_NAMED("telugu", kScriptTelugu),
    TENON_NAMED("thai", kScriptThai),
    TENON_NAMED("lao", kScriptLao),
    TENON_NAMED("tibetan", kScriptTibetan),
    TENON_NAMED("myanmar", kScriptMyanmar),
    TENON_NAMED("georgian", kScriptGeorgian),
    TENON_NAMED("khmer", kScriptKhmer),
    TENON_NAMED("mongolian", kScriptMongolian),
    TENON_NAMED("bopomofo", kScriptBopomofo),
    TENON_NAMED("common", kScriptCommon),
    TENON_NAMED("inherited", kScriptInherited),
};

#undef TENON_NAMED

constexpr std::pair<const char*, const char*> kLongNames[] = {
    {"letter", "L"}, {"mark", "M"},      {"number", "N"}, {"punctuation", "P"}, {"punct", "P"},
    {"symbol", "S"}, {"separator", "Z"}, {"other", "C"},  {"alpha", "L"}};

}  // namespace

std::optional<CodePointSet> regex_property(std::string_view name) {
  std::string key;
  for (const char c : name)
    if (c != ' ' && c != '_' && c != '-')
      key += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  if (key == "any") return CodePointSet(U'\0', kMaxCodePoint);
  if (key == "ascii") return CodePointSet(U'\0', U'\x7F');
  for (const auto& [long_name, short_name] : kLongNames)
    if (key == long_name) key = short_name;
  if (!key.empty() && key.size() <= 2) {
    key[0] = static_cast<char>(key[0] >= 'a' && key[0] <= 'z' ? key[0] - 'a' + 'A' : key[0]);
    CodePointSet set = category(key);
    if (!set.empty()) return set;
  }
  for (const NamedTable& table : kNamed)
    if (key == table.name) return CodePointSet(table.ranges, table.size);
  return std::nullopt;
}

std::string lower_case(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for_each_code_point(text, [&](char32_t c, std::size_t at, std::size_t length) {
    if (c < 0x80) {
      out += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
      return;
    }
    const auto* const end = data::kLowerFrom + data::kLowerFrom_size;
    const auto* const found = std::lower_bound(data::kLowerFrom, end, c);
    if (found == end || *found != c) {
      out.append(text, at, length);
      return;
    }
    utf8::append(out, data::kLowerTo[found - data::kLowerFrom]);
    if (c == 0x130) utf8::append(out, 0x307);  // the only one that grows
  });
  return out;
}

}  // namespace tenon::unicode
