// The four normalization forms (Unicode Standard Annex 15) over the oracle's tables.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <unordered_map>

#include "core/utf8.h"
#include "text/unicode.h"

namespace tenon::unicode {
namespace {

namespace data = unicode_data;

// Hangul syllables (chapter 3.12) are computed, not stored.
constexpr char32_t kSyllables = 0xAC00, kLeads = 0x1100, kVowels = 0x1161, kTrails = 0x11A7;
constexpr char32_t kLeadCount = 19, kVowelCount = 21, kTrailCount = 28;
constexpr char32_t kSyllableCount = kLeadCount * kVowelCount * kTrailCount;

struct Tables {
  std::unordered_map<char32_t, std::uint32_t> canonical, compatible;  // place << 8 | length
  std::unordered_map<std::uint64_t, char32_t> compose;
  std::unordered_map<char32_t, std::uint8_t> combining;
  // Code points that the form may change, move or join with what stands before them.
  CodePointBitmap unstable[4] = {CodePointBitmap({}), CodePointBitmap({}), CodePointBitmap({}),
                                 CodePointBitmap({})};

  Tables() {
    std::vector<CodePointRange> marks, decomposed, compatible_only, second, excluded;
    for (std::size_t i = 0; i < data::kCanonicalFrom_size; ++i) {
      canonical[data::kCanonicalFrom[i]] = compatible[data::kCanonicalFrom[i]] =
          data::kCanonicalAt[i];
      decomposed.push_back({data::kCanonicalFrom[i], data::kCanonicalFrom[i]});
    }
    for (std::size_t i = 0; i < data::kCompatibleFrom_size; ++i) {
      compatible[data::kCompatibleFrom[i]] = data::kCompatibleAt[i];
      compatible_only.push_back({data::kCompatibleFrom[i], data::kCompatibleFrom[i]});
    }
    std::unordered_map<char32_t, bool> composed;
    for (std::size_t i = 0; i < data::kCompositions_size; i += 3) {
      compose[std::uint64_t{data::kCompositions[i]} << 32 | data::kCompositions[i + 1]] =
          data::kCompositions[i + 2];
      second.push_back({data::kCompositions[i + 1], data::kCompositions[i + 1]});
      composed[data::kCompositions[i + 2]] = true;
    }
    for (const CodePointRange& range : decomposed)
      if (!composed.contains(range.first)) excluded.push_back(range);
    for (std::size_t i = 0; i < data::kCombiningRuns_size; ++i) {
      const auto value = static_cast<std::uint8_t>(data::kCombiningRuns[i] & 0xFF);
      if (value == 0) continue;
      const char32_t first = data::kCombiningRuns[i] >> 8;
      const char32_t end =
          i + 1 < data::kCombiningRuns_size ? data::kCombiningRuns[i + 1] >> 8 : kMaxCodePoint + 1;
      marks.push_back({first, end - 1});
      for (char32_t c = first; c < end; ++c) combining[c] = value;
    }
    const auto set = [](const std::vector<CodePointRange>& ranges) {
      return CodePointSet() | CodePointSet(ranges.data(), ranges.size());
    };
    const CodePointSet hangul(kSyllables, kSyllables + kSyllableCount - 1);
    const CodePointSet jamo(kVowels, kTrails + kTrailCount - 1);
    const CodePointSet joins = set(marks) | set(second) | set(excluded) | jamo;
    const CodePointSet splits = set(marks) | set(decomposed) | hangul;
    unstable[static_cast<int>(Form::kNfc)] = CodePointBitmap(joins);
    unstable[static_cast<int>(Form::kNfd)] = CodePointBitmap(splits);
    unstable[static_cast<int>(Form::kNfkc)] = CodePointBitmap(joins | set(compatible_only));
    unstable[static_cast<int>(Form::kNfkd)] = CodePointBitmap(splits | set(compatible_only));
  }

  std::uint8_t combining_class(char32_t c) const {
    const auto found = combining.find(c);
    return found == combining.end() ? 0 : found->second;
  }
};

const Tables& tables() {
  static const Tables all;
  return all;
}

void decompose(char32_t c, const std::unordered_map<char32_t, std::uint32_t>& table,
               std::u32string& out) {
  if (c >= kSyllables && c < kSyllables + kSyllableCount) {
    const char32_t index = c - kSyllables;
    out += kLeads + index / (kVowelCount * kTrailCount);
    out += kVowels + index / kTrailCount % kVowelCount;
    if (index % kTrailCount != 0) out += kTrails + index % kTrailCount;
    return;
  }
  const auto found = table.find(c);
  if (found == table.end()) {
    out += c;
    return;
  }
  const std::uint32_t* const from = data::kDecompositionPool + (found->second >> 8);
  out.append(from, from + (found->second & 0xFF));
}

/// Canonical ordering: marks between starters stably sorted by class.
void reorder(std::u32string& text, const Tables& all) {
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] < 0x300 || all.combining_class(text[i]) == 0) {
      ++i;
      continue;
    }
    std::size_t end = i;
    while (end < text.size() && all.combining_class(text[end]) != 0) ++end;
    std::stable_sort(text.begin() + static_cast<std::ptrdiff_t>(i),
                     text.begin() + static_cast<std::ptrdiff_t>(end), [&](char32_t a, char32_t b) {
                       return all.combining_class(a) < all.combining_class(b);
                     });
    i = end;
  }
}

/// The composed pair, 0 where there is none.
char32_t composed(char32_t first, char32_t second, const Tables& all) {
  if (first >= kLeads && first < kLeads + kLeadCount && second >= kVowels &&
      second < kVowels + kVowelCount)
    return kSyllables + ((first - kLeads) * kVowelCount + (second - kVowels)) * kTrailCount;
  if (first >= kSyllables && first < kSyllables + kSyllableCount &&
      (first - kSyllables) % kTrailCount == 0 && second > kTrails && second < kTrails + kTrailCount)
    return first + (second - kTrails);
  const auto found = all.compose.find(std::uint64_t{first} << 32 | second);
  return found == all.compose.end() ? 0 : found->second;
}

void compose(std::u32string& text, const Tables& all) {
  std::u32string out;
  out.reserve(text.size());
  std::size_t starter = std::u32string::npos;
  std::uint8_t last_class = 0;
  for (const char32_t c : text) {
    const std::uint8_t cc = all.combining_class(c);
    if (starter != std::u32string::npos) {
      const bool adjacent = starter + 1 == out.size();
      if (adjacent || last_class < cc) {
        if (const char32_t joined = composed(out[starter], c, all); joined != 0) {
          out[starter] = joined;
          continue;
        }
      }
    }
    if (cc == 0) starter = out.size();
    last_class = cc;
    out += c;
  }
  text = std::move(out);
}

}  // namespace

std::string normalize(std::string_view text, Form form) {
  const bool composing = form == Form::kNfc || form == Form::kNfkc;
  // Most text is normal already: find the first character that is not, or may join what precedes.
  if (std::all_of(text.begin(), text.end(),
                  [](char c) { return static_cast<signed char>(c) >= 0; }))
    return std::string(text);
  const Tables& all = tables();
  const CodePointBitmap& unstable = all.unstable[static_cast<int>(form)];
  bool stable = true;
  const char* p = text.data();
  const char* const end = p + text.size();
  while (p < end && stable) stable = !unstable.contains(next_code_point(p));
  if (stable) return std::string(text);

  std::u32string code_points;
  code_points.reserve(text.size());
  const auto& table = form == Form::kNfc || form == Form::kNfd ? all.canonical : all.compatible;
  for_each_code_point(text, [&](char32_t c, std::size_t, std::size_t) {
    if (c < 0x80)
      code_points += c;
    else
      decompose(c, table, code_points);
  });
  reorder(code_points, all);
  if (composing) compose(code_points, all);
  std::string out;
  out.reserve(text.size());
  for (const char32_t c : code_points) utf8::append(out, c);
  return out;
}

}  // namespace tenon::unicode
