// Attribute and item access. What would modify a list or dict, and what starts with two
// underscores, is undefined and says why when used.
// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/attributes.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "text/jinja/dict.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/items.h"
#include "text/jinja/methods.h"
#include "text/jinja/repr.h"

namespace tenon::jinja {
namespace {

bool is_mutator(const Value& object, std::string_view name) {
  static constexpr std::array<std::string_view, 8> kList{"append", "clear", "pop",    "reverse",
                                                         "insert", "sort",  "extend", "remove"};
  static constexpr std::array<std::string_view, 5> kDict{"clear", "pop", "popitem", "setdefault",
                                                         "update"};
  if (object.is(Kind::kList)) return std::find(kList.begin(), kList.end(), name) != kList.end();
  return object.is(Kind::kDict) && std::find(kDict.begin(), kDict.end(), name) != kDict.end();
}

Value unsafe(Runtime& runtime, const Value& object, std::string_view name) {
  return runtime.undefined_hint(
      fmt::format("access to attribute '{}' of '{}' object is unsafe.", name, type_name(object)));
}

Value loop_item(Runtime& runtime, std::optional<Value> item, std::string_view hint) {
  return item.has_value() ? *item : runtime.undefined_hint(hint);
}

std::optional<Value> loop_attribute(Runtime& runtime, LoopObject& loop, const Value& object,
                                    std::string_view name) {
  auto& interpreter = static_cast<Interpreter&>(runtime);
  if (name == "index0") return Value::of(loop.index0);
  if (name == "index") return Value::of(loop.index0 + 1);
  if (name == "first") return Value::of(loop.index0 == 0);
  if (name == "last") return Value::of(!interpreter.loop_peek(loop).has_value());
  if (name == "length") return Value::of(interpreter.loop_length(loop));
  if (name == "revindex") return Value::of(interpreter.loop_length(loop) - loop.index0);
  if (name == "revindex0") return Value::of(interpreter.loop_length(loop) - loop.index0 - 1);
  if (name == "depth") return Value::of(std::int64_t{loop.depth0} + 1);
  if (name == "depth0") return Value::of(std::int64_t{loop.depth0});
  if (name == "previtem")
    return loop_item(runtime, loop.index0 > 0 ? std::optional<Value>(loop.before) : std::nullopt,
                     "there is no previous item");
  if (name == "nextitem")
    return loop_item(runtime, interpreter.loop_peek(loop), "there is no next item");
  return find_method(runtime, object, name);
}

std::optional<Value> macro_attribute(Runtime& runtime, const Signature& macro,
                                     std::string_view name) {
  if (name == "name") return runtime.text(macro.name);
  if (name == "catch_kwargs") return Value::of(macro.uses_kwargs);
  if (name == "catch_varargs") return Value::of(macro.uses_varargs);
  if (name == "caller") return Value::of(macro.uses_caller);
  if (name != "arguments") return std::nullopt;
  std::vector<Value> names;
  for (const std::string& parameter : macro.parameters) names.push_back(runtime.text(parameter));
  return runtime.tuple(names);
}

/// What Python's getattr() finds; empty where it raises AttributeError.
std::optional<Value> find_attribute(Runtime& runtime, const Value& object, std::string_view name) {
  if (object.is(Kind::kNamespace)) {
    const Value* member = dict_find(runtime, *object.name_space->members, name);
    return member == nullptr ? std::nullopt : std::optional<Value>(*member);
  }
  const bool special = name.size() > 4 && name.starts_with("__") && name.ends_with("__");
  if (special || is_mutator(object, name)) return unsafe(runtime, object, name);
  switch (object.kind) {
    case Kind::kLoop: return loop_attribute(runtime, *object.loop, object, name);
    case Kind::kMacro: return macro_attribute(runtime, *object.macro->signature, name);
    case Kind::kTuple:
      if (object.sequence->group && name == "grouper") return object.sequence->items[0];
      if (object.sequence->group && name == "list") return object.sequence->items[1];
      break;
    case Kind::kRange:
      if (name == "start") return Value::of(object.range->start);
      if (name == "stop") return Value::of(object.range->stop);
      if (name == "step") return Value::of(object.range->step);
      break;
    case Kind::kCycler:
      if (name == "current") return object.cycler->items[object.cycler->position];
      break;
    case Kind::kJoiner:
      if (name == "sep") return object.joiner->separator;
      if (name == "used") return Value::of(object.joiner->used);
      break;
    default: break;
  }
  return find_method(runtime, object, name);
}

/// object[key] alone; empty where Python raises TypeError or LookupError.
std::optional<Value> find_item(Runtime& runtime, const Value& object, const Value& key) {
  if (object.is(Kind::kDict)) {
    if (!is_hashable(key)) return std::nullopt;
    const Value* member = dict_find(runtime, *object.dict, key);
    return member == nullptr ? std::nullopt : std::optional<Value>(*member);
  }
  const bool indexed = object.is_string() || object.is_array() || object.is(Kind::kRange);
  Value item;
  if (!indexed || !key.is_integral() || !item_at(runtime, object, key.as_integer(), item))
    return std::nullopt;
  return item;
}

}  // namespace

Value get_attribute(Runtime& runtime, const Value& object, std::string_view name) {
  runtime.charge(1);
  if (object.is_undefined()) runtime.fault_undefined(object);
  if (const auto found = find_attribute(runtime, object, name)) return *found;
  if (object.is(Kind::kDict)) {
    if (const Value* member = dict_find(runtime, *object.dict, name)) return *member;
  }
  return runtime.undefined_member(object, runtime.text_view(name));
}

Value get_item(Runtime& runtime, const Value& object, const Value& key) {
  runtime.charge(1);
  if (object.is_undefined()) runtime.fault_undefined(object);
  if (const auto found = find_item(runtime, object, key)) return *found;
  if (key.is_string()) {
    if (const auto found = find_attribute(runtime, object, key.text())) return *found;
  }
  return runtime.undefined_member(object, key);
}

Value get_path(Runtime& runtime, Value object, const Value& path, const Value& missing) {
  const auto or_missing = [&](const Value& value) {
    return value.is_undefined() && !missing.is_none() ? missing : value;
  };
  if (path.is_none()) return object;
  if (!path.is_string()) return or_missing(get_item(runtime, object, path));
  std::string_view rest = path.text();
  for (;;) {
    const std::size_t dot = rest.find('.');
    const std::string_view part = rest.substr(0, dot);
    const bool digits = !part.empty() && std::all_of(part.begin(), part.end(),
                                                     [](char c) { return c >= '0' && c <= '9'; });
    Value key = runtime.text_view(part);
    if (digits) {
      std::int64_t index = 0;
      const auto result = std::from_chars(part.data(), part.data() + part.size(), index);
      if (result.ec != std::errc()) runtime.fault("attribute '{}': the index is too large", rest);
      key = Value::of(index);
    }
    object = or_missing(get_item(runtime, object, key));
    if (dot == std::string_view::npos) return object;
    rest = rest.substr(dot + 1);
  }
}

}  // namespace tenon::jinja
