// Python's view of text over UTF-8: lengths and places in code points, classes, letter case.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tenon::jinja {

/// Invalid bytes count as one code point each maximal invalid prefix, as utf8::decode has it.
std::int64_t code_point_count(std::string_view text);

/// Byte offset of code point `index` (text.size() when past the end).
std::size_t byte_offset(std::string_view text, std::int64_t index);

/// Bytes of the first code point of `text`, which is not empty.
std::size_t first_length(std::string_view text);

bool is_space(char32_t c);
bool is_line_break(char32_t c);  ///< of str.splitlines()
bool is_letter(char32_t c);
bool is_decimal(char32_t c);
bool is_digit_like(char32_t c);  ///< str.isdigit(): decimals and superscripts
bool is_numeric(char32_t c);
bool is_alnum(char32_t c);
bool is_printable(char32_t c);  ///< shown as itself by repr()
bool is_upper(char32_t c);
bool is_lower(char32_t c);
bool is_title(char32_t c);
bool is_cased(char32_t c);

std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
std::string to_title(std::string_view text);  ///< str.title(): each run of cased letters
std::string capitalize(std::string_view text);
std::string swap_case(std::string_view text);
std::string fold_case(std::string_view text);  ///< str.casefold(): for comparing without case

enum class Side : std::uint8_t { kLeft = 1, kRight = 2, kBoth = 3 };

/// Without white space at the sides.
std::string_view strip_space(std::string_view text, Side side);
/// Without the code points of `set` at the sides.
std::string_view strip_set(std::string_view text, std::string_view set, Side side);

}  // namespace tenon::jinja
