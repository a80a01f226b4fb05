// Walking valid UTF-8, and sets of code points: as ranges for set algebra, as a bitmap for speed.
// Text inside the tokenizer is valid UTF-8 (repaired at the door), so the walk checks nothing.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/unicode_data.h"

namespace tenon {

/// Bytes of the character whose first byte is `lead`.
inline int utf8_length(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

/// The code point at `p`, which moves behind it. Only for valid UTF-8.
inline char32_t next_code_point(const char*& p) {
  const auto at = [&](int i) { return static_cast<char32_t>(static_cast<unsigned char>(p[i])); };
  const char32_t lead = at(0);
  if (lead < 0x80) return ++p, lead;
  char32_t c = 0;
  if (lead < 0xE0) {
    c = (lead & 0x1F) << 6 | (at(1) & 0x3F);
    p += 2;
  } else if (lead < 0xF0) {
    c = (lead & 0x0F) << 12 | (at(1) & 0x3F) << 6 | (at(2) & 0x3F);
    p += 3;
  } else {
    c = (lead & 0x07) << 18 | (at(1) & 0x3F) << 12 | (at(2) & 0x3F) << 6 | (at(3) & 0x3F);
    p += 4;
  }
  return c;
}

/// Calls each(code point, offset, length in bytes) for every character of valid UTF-8.
template <class Each>
void for_each_code_point(std::string_view text, Each&& each) {
  const char* p = text.data();
  const char* const end = p + text.size();
  while (p < end) {
    const char* const begin = p;
    const char32_t c = next_code_point(p);
    each(c, static_cast<std::size_t>(begin - text.data()), static_cast<std::size_t>(p - begin));
  }
}

inline constexpr char32_t kMaxCodePoint = 0x10FFFF;

/// Sorted, disjoint, non-adjacent ranges.
class CodePointSet {
 public:
  CodePointSet() = default;
  CodePointSet(const CodePointRange* ranges, std::size_t size) : ranges_(ranges, ranges + size) {}
  CodePointSet(char32_t first, char32_t last) : ranges_{{first, last}} {}
  explicit CodePointSet(char32_t only) : CodePointSet(only, only) {}

  const std::vector<CodePointRange>& ranges() const { return ranges_; }
  bool empty() const { return ranges_.empty(); }
  bool contains(char32_t c) const;

  CodePointSet operator|(const CodePointSet& other) const;
  CodePointSet operator&(const CodePointSet& other) const;
  CodePointSet operator~() const;
  bool operator==(const CodePointSet&) const = default;

 private:
  std::vector<CodePointRange> ranges_;
};

/// Answers contains() with two loads.
class CodePointBitmap {
 public:
  explicit CodePointBitmap(const CodePointSet& set);
  bool contains(char32_t c) const {
    const auto& page = pages_[page_of_[c >> 8]];
    return (page[(c & 0xFF) >> 6] >> (c & 63)) & 1;
  }

 private:
  using Page = std::array<std::uint64_t, 4>;
  std::array<std::uint16_t, (kMaxCodePoint >> 8) + 1> page_of_{};
  std::vector<Page> pages_;
};

}  // namespace tenon
