// Binding by place, then by name.
// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/arguments.h"

#include <algorithm>

#include "text/jinja/repr.h"

namespace tenon::jinja {

Bound::Bound(Runtime& runtime, std::string_view who, const Args& args,
             std::initializer_list<std::string_view> names, std::size_t required)
    : runtime_(runtime), who_(who) {
  TENON_ASSERT(names.size() <= names_.size());
  std::copy(names.begin(), names.end(), names_.begin());
  if (args.positional.size() > names.size())
    runtime.fault("{} takes at most {} argument(s), got {}", who, names.size(),
                  args.positional.size());
  for (std::size_t i = 0; i < args.positional.size(); ++i) values_[i] = &args.positional[i];
  for (const auto& [name, value] : args.named) {
    const auto* found = std::find(names.begin(), names.end(), name);
    if (found == names.end())
      runtime.fault("{} got an unexpected keyword argument '{}'", who, name);
    const Value*& place = values_[static_cast<std::size_t>(found - names.begin())];
    if (place != nullptr) runtime.fault("{} got multiple values for argument '{}'", who, name);
    place = &value;
  }
  for (std::size_t i = 0; i < required; ++i)
    if (values_[i] == nullptr) runtime.fault("{} is missing its argument '{}'", who, names_[i]);
}

std::int64_t Bound::integer(std::size_t i, std::int64_t missing) const {
  if (!has(i)) return missing;
  const Value& value = *values_[i];
  if (value.is_undefined()) runtime_.fault_undefined(value);
  if (!value.is_integral())
    runtime_.fault("{}: argument '{}' must be an integer, got {}", who_, names_[i],
                   type_name(value));
  return value.as_integer();
}

bool Bound::flag(std::size_t i, bool missing) const {
  return has(i) ? truthy(*values_[i]) : missing;
}

std::string_view Bound::text(std::size_t i, std::string_view missing) const {
  return has(i) ? to_text(runtime_, *values_[i]).text() : missing;
}

std::string_view Bound::string(std::size_t i) const {
  const Value& value = *values_[i];
  if (value.is_undefined()) runtime_.fault_undefined(value);
  if (!value.is_string())
    runtime_.fault("{}: argument '{}' must be str, not {}", who_, names_[i], type_name(value));
  return value.text();
}

}  // namespace tenon::jinja
