// "Replace" of tokenizer.json, a normalizer and a decoder: every match of a pattern by a text.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "core/json.h"
#include "text/split_pattern.h"

namespace tenon {

/// The "pattern" member: {"String": …} or {"Regex": …}.
SplitPattern make_pattern(const Json& component, std::string_view where);

class Replacer {
 public:
  Replacer(SplitPattern pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  /// `front_removed` becomes true where the text's beginning was replaced by nothing.
  std::string replace(std::string_view text, bool* front_removed = nullptr) const;

 private:
  SplitPattern pattern_;
  std::string content_;
};

Replacer make_replacer(const Json& component, std::string_view where);

}  // namespace tenon
