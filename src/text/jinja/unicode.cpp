// Unicode classes and places by utf8proc; ASCII takes the short way.
// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/unicode.h"

#include <utf8proc.h>

#include "core/utf8.h"

namespace tenon::jinja {
namespace {

utf8proc_category_t category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; }

/// Offset of the last code point of `text`, which is not empty and valid.
std::size_t last_offset(std::string_view text) {
  std::size_t offset = text.size() - 1;
  while (offset > 0 && text.size() - offset < 4 && is_continuation(text[offset])) --offset;
  return offset;
}

template <class Predicate>
std::string_view strip_if(std::string_view text, Side side, Predicate matches) {
  const auto sides = static_cast<unsigned>(side);
  while ((sides & 1U) != 0 && !text.empty()) {
    const utf8::Decoded first = utf8::decode(text);
    if (!matches(first.code_point)) break;
    text.remove_prefix(static_cast<std::size_t>(first.length));
  }
  while ((sides & 2U) != 0 && !text.empty()) {
    const std::size_t offset = last_offset(text);
    if (!matches(utf8::decode(text.substr(offset)).code_point)) break;
    text.remove_suffix(text.size() - offset);
  }
  return text;
}

}  // namespace

std::size_t first_length(std::string_view text) {
  if (static_cast<unsigned char>(text[0]) < 0x80) return 1;
  return static_cast<std::size_t>(utf8::decode(text).length);
}

std::int64_t code_point_count(std::string_view text) {
  std::int64_t count = 0;
  for (std::size_t i = 0; i < text.size(); ++count) i += first_length(text.substr(i));
  return count;
}

std::size_t byte_offset(std::string_view text, std::int64_t index) {
  std::size_t offset = 0;
  for (; index > 0 && offset < text.size(); --index) offset += first_length(text.substr(offset));
  return offset;
}

bool is_space(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x1F);
  return c == 0x85 || c == 0x2028 || c == 0x2029 || category(c) == UTF8PROC_CATEGORY_ZS;
}

bool is_line_break(char32_t c) {
  return (c >= 10 && c <= 13) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

bool is_letter(char32_t c) {
  switch (category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: return true;
    default: return false;
  }
}

bool is_decimal(char32_t c) { return category(c) == UTF8PROC_CATEGORY_ND; }

bool is_digit_like(char32_t c) {
  const bool superscript = c == 0xB2 || c == 0xB3 || c == 0xB9 || c == 0x2070 ||
                           (c >= 0x2074 && c <= 0x2079) || (c >= 0x2080 && c <= 0x2089) ||
                           (c >= 0x2460 && c <= 0x2468);
  return superscript || is_decimal(c);
}

bool is_numeric(char32_t c) {
  const auto kind = category(c);
  return kind == UTF8PROC_CATEGORY_ND || kind == UTF8PROC_CATEGORY_NL ||
         kind == UTF8PROC_CATEGORY_NO;
}

bool is_alnum(char32_t c) { return is_letter(c) || is_numeric(c); }

bool is_printable(char32_t c) {
  if (c == ' ') return true;
  switch (category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS: return false;
    default: return true;
  }
}

bool is_title(char32_t c) { return category(c) == UTF8PROC_CATEGORY_LT; }
bool is_upper(char32_t c) { return category(c) == UTF8PROC_CATEGORY_LU; }
bool is_lower(char32_t c) { return category(c) == UTF8PROC_CATEGORY_LL || c == 0xAA || c == 0xBA; }
bool is_cased(char32_t c) { return is_upper(c) || is_lower(c) || is_title(c); }

std::string_view strip_space(std::string_view text, Side side) {
  return strip_if(text, side, is_space);
}

std::string_view strip_set(std::string_view text, std::string_view set, Side side) {
  const std::u32string members = utf8::to_utf32(set);
  return strip_if(text, side, [&](char32_t c) { return members.find(c) != std::u32string::npos; });
}

}  // namespace tenon::jinja
