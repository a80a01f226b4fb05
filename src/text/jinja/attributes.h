// value.name and value[key], with the sandbox's rules.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "text/jinja/runtime.h"

namespace tenon::jinja {

/// value.name: Python's attribute first, then the item of that name, else undefined.
Value get_attribute(Runtime& runtime, const Value& object, std::string_view name);

/// value[key]: the item first, then the attribute, else undefined.
Value get_item(Runtime& runtime, const Value& object, const Value& key);

/// Follows a dotted path, as the `attribute` argument of filters does; digits are indices.
/// `missing`, unless none, stands in for whatever is undefined on the way.
Value get_path(Runtime& runtime, Value object, const Value& path, const Value& missing = {});

}  // namespace tenon::jinja
