// Translates an Oniguruma (Ruby syntax) pattern into one PCRE2 pattern over an alphabet of classes.
// Invariant: code points of one class are alike to every atom of the pattern, so the text may be
// replaced by its classes, one byte each, and matched without any Unicode in the matcher.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/code_points.h"

namespace tenon {

/// Which class (a byte) each code point belongs to.
class ClassAlphabet {
 public:
  ClassAlphabet() = default;
  /// Throws Error{kUnsupported} where more than 256 classes would be needed.
  ClassAlphabet(const std::vector<CodePointSet>& sets, std::string_view where);

  std::uint8_t class_of(char32_t c) const { return pages_[page_of_[c >> 8]][c & 0xFF]; }
  const std::uint8_t* ascii() const { return pages_[page_of_[0]].data(); }
  /// The classes that make up sets[index].
  const std::vector<std::uint8_t>& classes_of(std::size_t index) const { return members_[index]; }

 private:
  using Page = std::array<std::uint8_t, 256>;
  std::array<std::uint16_t, (kMaxCodePoint >> 8) + 1> page_of_{};
  std::vector<Page> pages_;
  std::vector<std::vector<std::uint8_t>> members_;
};

struct TranslatedPattern {
  std::string pcre2;  // over class bytes, to be compiled without PCRE2_UTF
  ClassAlphabet alphabet;
};

/// Throws Error: kCorrupt for a malformed pattern, kUnsupported for a construct outside the part of
/// Oniguruma that tokenizers use (back references, conditionals, absent operators, …).
TranslatedPattern translate_pattern(std::string_view oniguruma, std::string_view where);

}  // namespace tenon
