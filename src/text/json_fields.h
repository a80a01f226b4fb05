// Short ways to read the members of a tokenizer.json component.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/json.h"
#include "tenon/error.h"

namespace tenon {

/// Member `key`, null pointer where it is missing or null.
inline const Json* find_field(const Json& json, std::string_view key) {
  const Json* const found = json.find(key);
  return found == nullptr || found->is_null() ? nullptr : found;
}

inline bool bool_field(const Json& json, std::string_view key, bool otherwise) {
  const Json* const found = find_field(json, key);
  return found == nullptr ? otherwise : found->as_bool(key);
}

inline std::string string_field(const Json& json, std::string_view key, std::string otherwise) {
  const Json* const found = find_field(json, key);
  return found == nullptr ? std::move(otherwise) : found->as_string(key);
}

/// Runs `read`; an Error that does not name the source gets its name in front.
template <class Read>
auto naming_source(std::string_view where, Read&& read) {
  try {
    return read();
  } catch (const Error& error) {
    const std::string message = error.what();
    if (message.find(where) != std::string::npos) throw;
    throw Error(error.code(), std::string(where) + ": " + message);
  }
}

inline const std::string& type_of(const Json& json, std::string_view where) {
  return json.at("type", where).as_string(where);
}

}  // namespace tenon
