// Method lookup, and the methods of lists, dicts and helpers.
// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/methods.h"

#include <array>
#include <cmath>

#include "text/jinja/arguments.h"
#include "text/jinja/dict.h"
#include "text/jinja/items.h"
#include "text/jinja/macro.h"
#include "text/jinja/operators.h"

namespace tenon::jinja {
namespace {

Value list_count(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound(runtime, "count()", args, {"value"}, 1);
  std::int64_t found = 0;
  ItemSource items(runtime, self);
  for (Value item; items.next(item);) found += equals(runtime, item, bound[0]) ? 1 : 0;
  return Value::of(found);
}

Value list_index(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound(runtime, "index()", args, {"value", "start", "stop"}, 1);
  const std::int64_t length = *length_of(self);
  const auto place = [&](std::size_t i, std::int64_t missing) {
    const std::int64_t at = bound.integer(i, missing);
    return at < 0 ? std::max<std::int64_t>(at + length, 0) : at;
  };
  const std::int64_t stop = place(2, length);
  for (std::int64_t i = place(1, 0); i < stop; ++i) {
    Value item;
    if (!item_at(runtime, self, i, item)) break;
    if (equals(runtime, item, bound[0])) return Value::of(i);
  }
  runtime.fault("the value is not in the {}", type_name(self));
}

Value copy(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound(runtime, "copy()", args, {});
  return self;  // values never change: the same one serves
}

Value dict_get(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound(runtime, "get()", args, {"key", "default"}, 1);
  if (!is_hashable(bound[0])) runtime.fault("unhashable type: '{}'", type_name(bound[0]));
  const Value* found = dict_find(runtime, *self.dict, bound[0]);
  return found != nullptr ? *found : bound.get(1);
}

template <ViewObject::Part kPart>
Value dict_view(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound(runtime, "dict method", args, {});
  Value view;
  view.kind = Kind::kView;
  view.view = runtime.arena.make<ViewObject>(ViewObject{self.dict, kPart});
  return view;
}

Value loop_cycle(Runtime& runtime, const Value& self, Args& args) {
  if (args.positional.empty()) runtime.fault("no items for cycling given");
  const auto count = static_cast<std::int64_t>(args.positional.size());
  return args.positional[static_cast<std::size_t>(self.loop->index0 % count)];
}

Value loop_changed(Runtime& runtime, const Value& self, Args& args) {
  LoopObject& loop = *self.loop;
  bool same = loop.changed_called && loop.last_changed.size() == args.positional.size();
  for (std::size_t i = 0; same && i < args.positional.size(); ++i)
    same = equals(runtime, loop.last_changed[i], args.positional[i]);
  loop.changed_called = true;
  loop.last_changed.assign(args.positional.begin(), args.positional.end());
  return Value::of(!same);
}

Value cycler_next(Runtime&, const Value& self, Args&) {
  CyclerObject& cycler = *self.cycler;
  const Value item = cycler.items[cycler.position];
  cycler.position = (cycler.position + 1) % cycler.items.size();
  return item;
}

Value cycler_reset(Runtime&, const Value& self, Args&) {
  self.cycler->position = 0;
  return {};
}

Value float_is_integer(Runtime&, const Value& self, Args&) {
  return Value::of(std::isfinite(self.real) && std::floor(self.real) == self.real);
}

constexpr std::array kList{Method{"count", list_count}, Method{"index", list_index}};
constexpr std::array kCopyable{Method{"copy", copy}};
constexpr std::array kDict{
    Method{"get", dict_get},
    Method{"keys", dict_view<ViewObject::Part::kKeys>},
    Method{"values", dict_view<ViewObject::Part::kValues>},
    Method{"items", dict_view<ViewObject::Part::kItems>},
    Method{"copy", copy},
};
constexpr std::array kLoop{Method{"cycle", loop_cycle}, Method{"changed", loop_changed}};
constexpr std::array kCycler{Method{"next", cycler_next}, Method{"reset", cycler_reset}};
constexpr std::array kFloat{Method{"is_integer", float_is_integer}};

std::optional<Value> find_in(Runtime& runtime, std::span<const Method> methods, const Value& object,
                             std::string_view name) {
  for (const Method& method : methods)
    if (method.name == name) return runtime.function(method.name, method.body, object);
  return std::nullopt;
}

}  // namespace

std::optional<Value> find_method(Runtime& runtime, const Value& object, std::string_view name) {
  switch (object.kind) {
    case Kind::kString:
      if (auto found = find_in(runtime, string_methods(), object, name)) return found;
      return find_in(runtime, string_split_methods(), object, name);
    case Kind::kList:
      if (auto found = find_in(runtime, kCopyable, object, name)) return found;
      return find_in(runtime, kList, object, name);
    case Kind::kTuple:
    case Kind::kRange: return find_in(runtime, kList, object, name);
    case Kind::kDict: return find_in(runtime, kDict, object, name);
    case Kind::kLoop: return find_in(runtime, kLoop, object, name);
    case Kind::kCycler: return find_in(runtime, kCycler, object, name);
    case Kind::kFloat: return find_in(runtime, kFloat, object, name);
    default: return std::nullopt;
  }
}

}  // namespace tenon::jinja
