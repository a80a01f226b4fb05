// UTF-8: decoding, encoding and repair. Invalid bytes become U+FFFD as Python's
// errors='replace' does (one per maximal invalid prefix; Unicode 15, section 3.9, table 3-8).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace tenon::utf8 {

inline constexpr char32_t kReplacement = 0xFFFD;

struct Decoded {
  char32_t code_point = 0;  ///< kReplacement where invalid
  int length = 0;           ///< bytes consumed, at least 1 unless the text is empty
  bool valid = false;
};

/// First code point of `text` (which must not be empty).
Decoded decode(std::string_view text);

/// Appends `code_point` (kReplacement where it is a surrogate or above U+10FFFF).
void append(std::string& out, char32_t code_point);

bool is_valid(std::string_view text);
std::string replace_invalid(std::string_view text);
std::u32string to_utf32(std::string_view text);
std::string from_utf32(std::u32string_view text);

/// Length of the longest prefix of `text` that does not end inside a character: what may be
/// shown now when more bytes may follow. Bytes that can never become valid count as complete.
std::size_t complete_prefix(std::string_view text);

}  // namespace tenon::utf8
