// Methods of strings, lists, dicts and the loop helpers.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "text/jinja/runtime.h"

namespace tenon::jinja {

struct Method {
  std::string_view name;
  Function body;
};

/// The method bound to `object`, empty where its type has none of this name.
std::optional<Value> find_method(Runtime& runtime, const Value& object, std::string_view name);

std::span<const Method> string_methods();        ///< case, strip, find, replace, is…
std::span<const Method> string_split_methods();  ///< split, join, partition, padding, format

// Work that filters share.
Value replace_text(Runtime& runtime, std::string_view text, std::string_view from,
                   std::string_view to, std::int64_t count);
Value join_values(Runtime& runtime, std::string_view separator, const std::vector<Value>& items,
                  bool strings_only);
std::vector<Value> split_lines(Runtime& runtime, std::string_view text, bool keep_ends);
Value pad_text(Runtime& runtime, const Value& text, std::int64_t width, std::string_view fill,
               char align);
bool is_all_upper(std::string_view text);
bool is_all_lower(std::string_view text);
Value format_braces(Runtime& runtime, std::string_view text, const Args& args);

}  // namespace tenon::jinja
