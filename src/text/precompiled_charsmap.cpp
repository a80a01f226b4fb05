// SPDX-License-Identifier: Apache-2.0
#include "text/precompiled_charsmap.h"

#include <utf8proc.h>

#include <cstring>

#include "core/check.h"
#include "text/code_points.h"

namespace tenon {

PrecompiledCharsmap::PrecompiledCharsmap(std::string_view blob, std::string_view where) {
  if (blob.empty()) return;
  std::uint32_t size = 0;
  TENON_CHECK(blob.size() >= 4, ErrorCode::kCorrupt,
              "{}: precompiled_charsmap has {} bytes, expected 4 or more", where, blob.size());
  for (int i = 3; i >= 0; --i)
    size = size << 8 | static_cast<unsigned char>(blob[static_cast<std::size_t>(i)]);
  TENON_CHECK(size % 4 == 0 && size <= blob.size() - 4, ErrorCode::kCorrupt,
              "{}: precompiled_charsmap claims a trie of {} bytes among {}", where, size,
              blob.size() - 4);
  units_.resize(size / 4);
  for (std::size_t i = 0; i < units_.size(); ++i) {
    std::uint32_t unit = 0;
    for (std::size_t b = 4; b-- > 0;)
      unit = unit << 8 | static_cast<unsigned char>(blob[4 + i * 4 + b]);
    units_[i] = unit;
  }
  replacements_ = blob.substr(4 + size);
}

PrecompiledCharsmap::Match PrecompiledCharsmap::match(std::string_view text, bool first) const {
  // A unit: label in bits 0-7 and 31, "a value hangs here" in bit 8, distance to the children in
  // the rest, in steps of 256 where bit 9 is set. A value unit has bit 31 and the value.
  const auto distance = [](std::uint32_t unit) { return (unit >> 10) << ((unit & 0x200) >> 6); };
  Match best;
  if (units_.empty()) return best;
  std::uint32_t at = distance(units_[0]);
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte == 0) break;
    at ^= byte;
    if (at >= units_.size()) break;
    const std::uint32_t unit = units_[at];
    if ((unit & (0x80000000u | 0xFF)) != byte) break;
    at ^= distance(unit);
    if ((unit & 0x100) == 0) continue;
    if (at >= units_.size()) break;
    const std::uint32_t value = units_[at] & 0x7FFFFFFF;
    if (value >= replacements_.size()) break;
    const std::size_t end = replacements_.find('\0', value);
    const std::string_view all = replacements_;
    best = {i + 1, all.substr(value, end == std::string::npos ? end : end - value)};
    if (first) break;
  }
  return best;
}

std::string normalize_graphemes(const PrecompiledCharsmap& rules, std::string_view text) {
  std::string out;
  out.reserve(text.size());
  const auto add = [&](std::string_view part) {
    const PrecompiledCharsmap::Match match = rules.shortest(part);
    out += match.length > 0 ? match.replacement : part;
  };
  const char* p = text.data();
  const char* const end = p + text.size();
  while (p < end) {
    const char* const begin = p;
    char32_t last = next_code_point(p);
    utf8proc_int32_t state = 0;
    while (p < end) {
      const char* const before = p;
      const char32_t next = next_code_point(p);
      if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(last),
                                           static_cast<utf8proc_int32_t>(next), &state)) {
        p = before;
        break;
      }
      last = next;
    }
    const std::string_view grapheme(begin, static_cast<std::size_t>(p - begin));
    if (grapheme.size() < 6 && rules.shortest(grapheme).length > 0) {
      add(grapheme);
    } else {
      for_each_code_point(grapheme, [&](char32_t, std::size_t at, std::size_t length) {
        add(grapheme.substr(at, length));
      });
    }
  }
  return out;
}

}  // namespace tenon
