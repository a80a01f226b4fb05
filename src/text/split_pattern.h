// A pattern of a tokenizer: finds its matches in a text as Oniguruma would, or a literal string.
// Thread-safe. Matching work is limited; a text that exceeds the limit is an Error, not a hang.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace tenon {

struct TextRange {
  std::size_t begin;
  std::size_t end;
};

class SplitPattern {
 public:
  static SplitPattern regex(std::string_view oniguruma, std::string_view where);
  static SplitPattern literal(std::string_view text);

  SplitPattern(SplitPattern&&) noexcept;
  SplitPattern& operator=(SplitPattern&&) noexcept;
  ~SplitPattern();

  /// Replaces `out` by the matches in `text` (valid UTF-8), from left to right.
  void find_all(std::string_view text, std::vector<TextRange>& out) const;

 private:
  struct Impl;
  explicit SplitPattern(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

}  // namespace tenon
