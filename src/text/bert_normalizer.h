// The clean-up of BERT: control characters, white space, Chinese characters, accents, case.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace tenon {

struct BertNormalizerOptions {
  bool clean_text = true;
  bool handle_chinese_chars = true;
  bool strip_accents = true;
  bool lowercase = true;
};

std::string bert_normalize(std::string_view text, const BertNormalizerOptions& options);

}  // namespace tenon
