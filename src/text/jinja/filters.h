// Filters: value|name(arguments).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string_view>

#include "text/jinja/methods.h"
#include "text/jinja/runtime.h"

namespace tenon::jinja {

Value apply_filter(Runtime& runtime, std::string_view name, const Value& subject, Args& args);

/// Markup of the value's text with & < > ' " as entities; markup stays as it is.
Value escape_html(Runtime& runtime, const Value& value);

/// int() of a string in `base`; empty where it is no number.
std::optional<std::int64_t> parse_integer(Runtime& runtime, std::string_view text,
                                          std::int64_t base);

/// A generator of what `fill` puts into the vector. As in Python its fault, if it has one, is
/// raised where the walk comes to it, and never where nobody walks.
template <class Fill>
Value generate(Runtime& runtime, Fill fill) {
  std::vector<Value> items;
  std::string_view fault;
  try {
    fill(items);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kInvalidArgument) throw;
    fault = runtime.text(error.what()).text();
  }
  const Value result = runtime.iterator(items);
  result.iterator->fault = fault;
  return result;
}

std::span<const Method> text_filters();
std::span<const Method> markup_filters();
std::span<const Method> number_filters();
std::span<const Method> sequence_filters();
std::span<const Method> select_filters();

}  // namespace tenon::jinja
