// Declares the tables that tools/make_unicode_tables.py writes into unicode_data.cpp.
// Ranges are sorted and disjoint; "runs" are start << 8 | value up to the next start.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace tenon {

struct CodePointRange {
  char32_t first;
  char32_t last;  // inclusive

  bool operator==(const CodePointRange&) const = default;
};

namespace unicode_data {

#define TENON_UNICODE_TABLE(type, name) \
  extern const type name[];             \
  extern const std::size_t name##_size

// What the regular expressions of pre-tokenizers see.
TENON_UNICODE_TABLE(std::uint32_t, kCategoryRuns);  // values index kCategoryNames
TENON_UNICODE_TABLE(CodePointRange, kRegexSpace);
TENON_UNICODE_TABLE(CodePointRange, kRegexWord);
TENON_UNICODE_TABLE(CodePointRange, kRegexDigit);
TENON_UNICODE_TABLE(CodePointRange, kScriptHan);
TENON_UNICODE_TABLE(CodePointRange, kScriptHiragana);
TENON_UNICODE_TABLE(CodePointRange, kScriptKatakana);
TENON_UNICODE_TABLE(CodePointRange, kScriptHangul);
TENON_UNICODE_TABLE(CodePointRange, kScriptLatin);
TENON_UNICODE_TABLE(CodePointRange, kScriptGreek);
TENON_UNICODE_TABLE(CodePointRange, kScriptCyrillic);
TENON_UNICODE_TABLE(CodePointRange, kScriptArmenian);
TENON_UNICODE_TABLE(CodePointRange, kScriptHebrew);
TENON_UNICODE_TABLE(CodePointRange, kScriptArabic);
TENON_UNICODE_TABLE(CodePointRange, kScriptDevanagari);
TENON_UNICODE_TABLE(CodePointRange, kScriptBengali);
TENON_UNICODE_TABLE(CodePointRange, kScriptTamil);
TENON_UNICODE_TABLE(CodePointRange, kScriptTelugu);
TENON_UNICODE_TABLE(CodePointRange, kScriptThai);
TENON_UNICODE_TABLE(CodePointRange, kScriptLao);
TENON_UNICODE_TABLE(CodePointRange, kScriptTibetan);
TENON_UNICODE_TABLE(CodePointRange, kScriptMyanmar);
TENON_UNICODE_TABLE(CodePointRange, kScriptGeorgian);
TENON_UNICODE_TABLE(CodePointRange, kScriptKhmer);
TENON_UNICODE_TABLE(CodePointRange, kScriptMongolian);
TENON_UNICODE_TABLE(CodePointRange, kScriptBopomofo);
TENON_UNICODE_TABLE(CodePointRange, kScriptCommon);
TENON_UNICODE_TABLE(CodePointRange, kScriptInherited);
TENON_UNICODE_TABLE(std::uint32_t, kAsciiFold);  // pairs: ASCII letter, its further case variant

// What the other components see, each from an age of its own.
TENON_UNICODE_TABLE(CodePointRange, kWhiteSpace);
TENON_UNICODE_TABLE(CodePointRange, kWord);
TENON_UNICODE_TABLE(CodePointRange, kNumeric);
TENON_UNICODE_TABLE(CodePointRange, kPunctuation);
TENON_UNICODE_TABLE(CodePointRange, kCombiningMark);
TENON_UNICODE_TABLE(CodePointRange, kBertControl);
TENON_UNICODE_TABLE(CodePointRange, kBertAccent);
TENON_UNICODE_TABLE(std::uint32_t, kLowerFrom);
TENON_UNICODE_TABLE(std::uint32_t, kLowerTo);

// Normalization forms. "At" is the place in the pool << 8 | number of code points.
TENON_UNICODE_TABLE(std::uint32_t, kDecompositionPool);
TENON_UNICODE_TABLE(std::uint32_t, kCanonicalFrom);
TENON_UNICODE_TABLE(std::uint32_t, kCanonicalAt);
TENON_UNICODE_TABLE(std::uint32_t, kCompatibleFrom);  // where it differs from the canonical one
TENON_UNICODE_TABLE(std::uint32_t, kCompatibleAt);
TENON_UNICODE_TABLE(std::uint32_t, kCompositions);  // triples: first, second, composed
TENON_UNICODE_TABLE(std::uint32_t, kCombiningRuns);

#undef TENON_UNICODE_TABLE

/// Names of the values of kCategoryRuns, in their order.
inline constexpr const char* kCategoryNames[] = {
    "Cn", "Cc", "Cf", "Co", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No",
    "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp"};

}  // namespace unicode_data
}  // namespace tenon
