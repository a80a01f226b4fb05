// Filters that apply other filters or tests to each item, and default.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>

#include "text/jinja/arguments.h"
#include "text/jinja/attributes.h"
#include "text/jinja/filters.h"
#include "text/jinja/items.h"
#include "text/jinja/tests.h"

namespace tenon::jinja {
namespace {

Value default_value(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter 'default'", args, {"default_value", "boolean"});
  const bool replace = subject.is_undefined() || (bound.flag(1, false) && !truthy(subject));
  if (!replace) return subject;
  return bound.has(0) ? bound[0] : runtime.text_view({}, 0);
}

std::optional<Value> take_named(Args& args, std::string_view name) {
  const auto found = std::find_if(args.named.begin(), args.named.end(),
                                  [&](const auto& row) { return row.first == name; });
  if (found == args.named.end()) return std::nullopt;
  const Value value = found->second;
  args.named.erase(found);
  return value;
}

Value name_of(Runtime& runtime, const Value& value, std::string_view what) {
  if (!value.is_string()) runtime.fault("{} expects a name, got {}", what, type_name(value));
  return value;
}

void map_attribute(Runtime& runtime, const Value& subject, Args& args, const Value& path,
                   std::vector<Value>& items) {
  const Value missing = take_named(args, "default").value_or(Value::none());
  if (!args.named.empty()) runtime.fault("Unexpected keyword argument '{}'", args.named[0].first);
  for (const Value& item : to_vector(runtime, subject))
    items.push_back(get_path(runtime, item, path, missing));
}

void map_filter(Runtime& runtime, const Value& subject, Args& args, std::vector<Value>& items) {
  if (args.positional.empty()) runtime.fault("map requires a filter argument");
  const Value name = name_of(runtime, args.positional[0], "map");
  args.positional.erase(args.positional.begin());
  for (const Value& item : to_vector(runtime, subject)) {
    Args each = args;
    items.push_back(apply_filter(runtime, name.text(), item, each));
  }
}

Value map(Runtime& runtime, const Value& subject, Args& args) {
  return generate(runtime, [&](std::vector<Value>& items) {
    if (!truthy(subject)) return;
    const auto path =
        args.positional.empty() ? take_named(args, "attribute") : std::optional<Value>();
    if (path.has_value()) {
      map_attribute(runtime, subject, args, *path, items);
    } else {
      map_filter(runtime, subject, args, items);
    }
  });
}

Value take_first(Args& args) {
  const Value first = args.positional[0];
  args.positional.erase(args.positional.begin());
  return first;
}

template <bool kKeep, bool kAttribute>
Value select(Runtime& runtime, const Value& subject, Args& args) {
  return generate(runtime, [&](std::vector<Value>& items) {
    if (!truthy(subject)) return;
    if (kAttribute && args.positional.empty())
      runtime.fault("Missing parameter for attribute name");
    const Value attribute = kAttribute ? take_first(args) : Value::none();
    const Value test =
        args.positional.empty() ? Value::none() : name_of(runtime, take_first(args), "select");
    for (const Value& item : to_vector(runtime, subject)) {
      const Value value = kAttribute ? get_path(runtime, item, attribute) : item;
      Args each = args;
      const bool passes =
          test.is_none() ? truthy(value) : apply_test(runtime, test.text(), value, each);
      if (passes == kKeep) items.push_back(item);
    }
  });
}

Value attribute(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter 'attr'", args, {"name"}, 1);
  if (subject.is(Kind::kDict)) {  // attributes alone, never the items
    const Value found = get_attribute(runtime, runtime.new_dict(), bound.string(0));
    if (found.is(Kind::kFunction))
      return runtime.function(found.function->name, found.function->body, subject);
    return runtime.undefined_member(subject, bound[0]);
  }
  return get_attribute(runtime, subject, bound.string(0));
}

constexpr std::array kFilters{
    Method{"default", default_value},
    Method{"d", default_value},
    Method{"map", map},
    Method{"select", select<true, false>},
    Method{"reject", select<false, false>},
    Method{"selectattr", select<true, true>},
    Method{"rejectattr", select<false, true>},
    Method{"attr", attribute},
};

}  // namespace

std::span<const Method> select_filters() { return kFilters; }

}  // namespace tenon::jinja
