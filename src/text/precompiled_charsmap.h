// SentencePiece's compiled normalization rules: a double-array trie over byte strings that leads
// to their replacements. Every index is checked, as the blob comes from a file.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tenon {

class PrecompiledCharsmap {
 public:
  PrecompiledCharsmap() = default;
  /// Throws Error{kCorrupt} where the blob's sizes do not fit.
  PrecompiledCharsmap(std::string_view blob, std::string_view where);

  bool empty() const { return units_.empty(); }

  struct Match {
    std::size_t length = 0;  // 0: none
    std::string_view replacement;
  };
  Match shortest(std::string_view text) const { return match(text, true); }
  Match longest(std::string_view text) const { return match(text, false); }

 private:
  Match match(std::string_view text, bool first) const;
  std::vector<std::uint32_t> units_;
  std::string replacements_;  // each ends with a zero byte
};

/// As Hugging Face's Precompiled normalizer applies the rules: per grapheme of up to five bytes,
/// else per character, each time the shortest match for all of it.
std::string normalize_graphemes(const PrecompiledCharsmap& rules, std::string_view text);

}  // namespace tenon
