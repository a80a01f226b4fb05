// Values as text: Python's str() and repr(), and JSON.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "text/jinja/runtime.h"

namespace tenon::jinja {

std::string format_float(double value);    ///< Python's repr(float)
std::string quote(std::string_view text);  ///< Python's repr(str)

/// str(value), as {{ value }} prints it.
Value to_text(Runtime& runtime, const Value& value);
void append_text(TextBuilder& out, Runtime& runtime, const Value& value);
Value repr(Runtime& runtime, const Value& value);
void append_repr(TextBuilder& out, Runtime& runtime, const Value& value, int depth = 0);

/// A short repr of a string or number for error messages.
std::string quick_repr(const Value& value);

struct JsonStyle {
  bool ascii = false;
  bool sort_keys = false;
  bool pretty = false;  ///< one item a line, each behind `indent` times its depth
  std::string indent;
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};

/// json.dumps(value).
Value to_json(Runtime& runtime, const Value& value, const JsonStyle& style);

}  // namespace tenon::jinja
