// Dictionaries: insertion order, keys compared as Python does (1, 1.0 and True are one key).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "text/jinja/runtime.h"

namespace tenon::jinja {

/// Python's hash() as far as equality needs it; throws for lists, dicts and the like.
std::uint64_t hash_value(Runtime& runtime, const Value& value);
bool is_hashable(const Value& value);

/// Null where the key is missing.
const Value* dict_find(Runtime& runtime, const DictObject& dict, const Value& key);
const Value* dict_find(Runtime& runtime, const DictObject& dict, std::string_view key);
void dict_set(Runtime& runtime, DictObject& dict, const Value& key, const Value& value);

}  // namespace tenon::jinja
