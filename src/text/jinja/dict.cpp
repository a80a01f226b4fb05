// Small dictionaries are searched in place; larger ones keep an index by hash.
// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/dict.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "text/jinja/operators.h"

namespace tenon::jinja {
namespace {

constexpr std::size_t kIndexFrom = 12;

std::uint64_t mix(std::uint64_t hash) {
  hash ^= hash >> 31;
  hash *= 0x9E3779B97F4A7C15ULL;
  return hash ^ (hash >> 29);
}

std::uint64_t hash_real(double value) {
  if (std::floor(value) == value && std::fabs(value) < 9e18)
    return mix(static_cast<std::uint64_t>(static_cast<std::int64_t>(value)));
  return mix(std::hash<double>{}(value));
}

std::uint32_t find_place(Runtime& runtime, const DictObject& dict, const Value& key) {
  constexpr std::uint32_t kMissing = UINT32_MAX;
  if (dict.index.empty()) {
    runtime.charge(1 + dict.items.size() / 4);
    for (std::uint32_t i = 0; i < dict.items.size(); ++i)
      if (equals(runtime, dict.items[i].first, key)) return i;
    return kMissing;
  }
  const auto range = dict.index.equal_range(hash_value(runtime, key));
  for (auto place = range.first; place != range.second; ++place) {
    runtime.charge(1);
    if (equals(runtime, dict.items[place->second].first, key)) return place->second;
  }
  return kMissing;
}

}  // namespace

bool is_hashable(const Value& value) {
  if (value.kind == Kind::kTuple)
    return std::all_of(value.sequence->items.begin(), value.sequence->items.end(), is_hashable);
  return value.kind != Kind::kList && value.kind != Kind::kDict;
}

std::uint64_t hash_value(Runtime& runtime, const Value& value) {
  runtime.charge(1);
  const Runtime::Nest nest(runtime);
  switch (value.kind) {
    case Kind::kNone: return 0x6E6F6E65;
    case Kind::kUndefined: return 0x756E6465;
    case Kind::kBool:
    case Kind::kInt: return mix(static_cast<std::uint64_t>(value.as_integer()));
    case Kind::kFloat: return hash_real(value.real);
    case Kind::kString:
      runtime.charge_bytes(value.text().size());
      return std::hash<std::string_view>{}(value.text());
    case Kind::kTuple: {
      std::uint64_t hash = value.sequence->items.size();
      for (const Value& item : value.sequence->items)
        hash = mix(hash * 31 + hash_value(runtime, item));
      return hash;
    }
    case Kind::kList:
    case Kind::kDict: runtime.fault("unhashable type: '{}'", type_name(value));
    default: return mix(reinterpret_cast<std::uintptr_t>(value.sequence));
  }
}

const Value* dict_find(Runtime& runtime, const DictObject& dict, const Value& key) {
  const std::uint32_t place = find_place(runtime, dict, key);
  return place == UINT32_MAX ? nullptr : &dict.items[place].second;
}

const Value* dict_find(Runtime& runtime, const DictObject& dict, std::string_view key) {
  StringObject object;
  object.text = key;
  return dict_find(runtime, dict, Value::of(&object));
}

void dict_set(Runtime& runtime, DictObject& dict, const Value& key, const Value& value) {
  const std::uint64_t hash = hash_value(runtime, key);  // also refuses keys that have none
  const std::uint32_t place = find_place(runtime, dict, key);
  if (place != UINT32_MAX) {
    dict.items[place].second = value;
    return;
  }
  dict.items.emplace_back(key, value);
  const auto count = static_cast<std::uint32_t>(dict.items.size());
  if (count < kIndexFrom) return;
  if (!dict.index.empty()) {
    dict.index.emplace(hash, count - 1);
    return;
  }
  for (std::uint32_t i = 0; i < count; ++i)
    dict.index.emplace(hash_value(runtime, dict.items[i].first), i);
}

}  // namespace tenon::jinja
