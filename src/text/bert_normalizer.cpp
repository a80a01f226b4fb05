// SPDX-License-Identifier: Apache-2.0
#include "text/bert_normalizer.h"

#include "core/utf8.h"
#include "text/unicode.h"

namespace tenon {
namespace {

/// The blocks that BERT's vocabularies were made with (the sixth differs from the CJK block, as in
/// the implementations that made them).
bool is_chinese(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
         (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

}  // namespace

std::string bert_normalize(std::string_view text, const BertNormalizerOptions& options) {
  std::string out;
  out.reserve(text.size());
  for_each_code_point(text, [&](char32_t c, std::size_t, std::size_t) {
    if (options.clean_text) {
      if (unicode::bert_control().contains(c)) return;
      if (unicode::white_space().contains(c)) c = U' ';
    }
    const bool apart = options.handle_chinese_chars && is_chinese(c);
    if (apart) out += ' ';
    utf8::append(out, c);
    if (apart) out += ' ';
  });
  if (options.strip_accents) {
    const std::string decomposed = unicode::normalize(out, unicode::Form::kNfd);
    out.clear();
    for_each_code_point(decomposed, [&](char32_t c, std::size_t at, std::size_t length) {
      if (!unicode::bert_accent().contains(c)) out.append(decomposed, at, length);
    });
  }
  if (options.lowercase) out = unicode::lower_case(out);
  return out;
}

}  // namespace tenon
