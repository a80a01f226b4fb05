// Python's operators on values.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "text/jinja/ast.h"
#include "text/jinja/runtime.h"

namespace tenon::jinja {

/// left == right; never throws but for depth.
bool equals(Runtime& runtime, const Value& left, const Value& right);

/// A comparison: == != < <= > >= in, not in.
bool compare(Runtime& runtime, Op op, const Value& left, const Value& right);

/// left in right.
bool contains(Runtime& runtime, const Value& container, const Value& item);

/// + - * / // % **.
Value arithmetic(Runtime& runtime, Op op, const Value& left, const Value& right);
Value negate(Runtime& runtime, const Value& value);

/// Place of `needle` in `text`, npos where missing, in linear time.
std::size_t find_text(Runtime& runtime, std::string_view text, std::string_view needle);

/// text % value.
Value format_percent(Runtime& runtime, const Value& text, const Value& value);

}  // namespace tenon::jinja
