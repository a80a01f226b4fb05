// Numbers laid out as Python's % operator and format() do.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "text/jinja/runtime.h"

namespace tenon::jinja {

inline constexpr std::int64_t kMaxFieldWidth = 100'000;

struct FieldFormat {
  std::string fill = " ";  ///< one code point
  char align = 0;          ///< '<', '>', '^', '=' or 0 for the type's own
  char sign = '-';         ///< '+', '-' or ' '
  bool alternate = false;  ///< '#'
  char grouping = 0;       ///< ',' or '_'
  std::int64_t width = 0;
  std::optional<std::int64_t> precision;
  char type = 0;
};

/// Digits of a number without sign and padding; `type` as in Python, 0 for the default.
std::string integer_digits(std::int64_t value, const FieldFormat& format);
std::string real_digits(double value, const FieldFormat& format);

/// Sign and padding around the digits.
Value layout_number(Runtime& runtime, std::string digits, bool negative, const FieldFormat& format);
/// Precision and padding of a text.
Value layout_text(Runtime& runtime, const Value& text, const FieldFormat& format);

}  // namespace tenon::jinja
