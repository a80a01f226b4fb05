// Walking, counting, indexing and slicing.
// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/items.h"

#include <algorithm>

#include "text/jinja/macro.h"
#include "text/jinja/unicode.h"

namespace tenon::jinja {
namespace {

struct Bounds {
  std::int64_t start = 0, end = 0, step = 1, count = 0;
};

/// The places a slice picks out of `length`, as Python's slice.indices().
Bounds slice_bounds(Runtime& runtime, std::int64_t length, const Value& start, const Value& stop,
                    const Value& step) {
  const auto number = [&](const Value& part, std::int64_t missing) {
    if (part.is_none()) return missing;
    if (part.is_undefined()) runtime.fault_undefined(part);
    if (!part.is_integral())
      runtime.fault("slice indices must be integers or None, got {}", type_name(part));
    return part.as_integer();
  };
  Bounds bounds;
  bounds.step = std::clamp<std::int64_t>(number(step, 1), -INT64_MAX, INT64_MAX);
  if (bounds.step == 0) runtime.fault("slice step cannot be zero");
  const bool forward = bounds.step > 0;
  const std::int64_t low = forward ? 0 : -1;
  const std::int64_t high = forward ? length : length - 1;
  const auto place = [&](const Value& part, std::int64_t missing) {
    if (part.is_none()) return missing;
    const std::int64_t index = number(part, 0);
    return std::clamp(index < 0 ? std::max(index, -length - 1) + length : index, low, high);
  };
  bounds.start = place(start, forward ? low : high);
  bounds.end = place(stop, forward ? high : low);
  const std::int64_t span = forward ? bounds.end - bounds.start : bounds.start - bounds.end;
  const std::int64_t stride = forward ? bounds.step : -bounds.step;
  bounds.count = span <= 0 ? 0 : (span - 1) / stride + 1;
  return bounds;
}

Value slice_text(Runtime& runtime, const StringObject& string, const Bounds& bounds) {
  runtime.charge_bytes(string.text.size());
  const auto offset = [&](std::int64_t index) {
    return string.is_ascii() ? static_cast<std::size_t>(index) : byte_offset(string.text, index);
  };
  if (bounds.step == 1 || bounds.count == 0) {
    if (bounds.count == 0) return runtime.text_view({}, 0);
    const std::size_t begin = offset(bounds.start);
    const std::string_view tail = string.text.substr(begin);
    const std::size_t size = string.is_ascii() ? static_cast<std::size_t>(bounds.count)
                                               : byte_offset(tail, bounds.count);
    return runtime.text_view(tail.substr(0, size), bounds.count);
  }
  std::vector<std::string_view> characters;
  runtime.arena.require(string.text.size() * sizeof(std::string_view));
  runtime.charge(static_cast<std::uint64_t>(string.length));
  for (std::size_t i = 0; i < string.text.size();) {
    const std::size_t length = first_length(string.text.substr(i));
    characters.push_back(string.text.substr(i, length));
    i += length;
  }
  TextBuilder out(runtime);
  std::int64_t place = bounds.start;
  for (std::int64_t i = 0; i < bounds.count; ++i, place += i < bounds.count ? bounds.step : 0)
    out.append(characters[static_cast<std::size_t>(place)]);
  return out.finish();
}

Value slice_range(Runtime& runtime, const RangeObject& range, const Bounds& bounds) {
  // Wraps instead of overflowing: only what lies inside the old range is ever looked at.
  const auto at = [&](std::int64_t place) {
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(range.start) +
                                     static_cast<std::uint64_t>(place) *
                                         static_cast<std::uint64_t>(range.step));
  };
  Value result;
  result.kind = Kind::kRange;
  result.range = runtime.arena.make<RangeObject>(
      RangeObject{at(bounds.start), at(bounds.end),
                  static_cast<std::int64_t>(static_cast<std::uint64_t>(range.step) *
                                            static_cast<std::uint64_t>(bounds.step)),
                  bounds.count});
  return result;
}

}  // namespace

bool is_iterable(const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined:
    case Kind::kString:
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kDict:
    case Kind::kRange:
    case Kind::kView:
    case Kind::kIterator: return true;
    default: return false;
  }
}

std::optional<std::int64_t> length_of(const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined: return 0;
    case Kind::kString: return value.string->length;
    case Kind::kList:
    case Kind::kTuple: return static_cast<std::int64_t>(value.sequence->items.size());
    case Kind::kDict: return static_cast<std::int64_t>(value.dict->items.size());
    case Kind::kView: return static_cast<std::int64_t>(value.view->dict->items.size());
    case Kind::kRange: return value.range->length;
    default: return std::nullopt;
  }
}

ItemSource::ItemSource(Runtime& runtime, const Value& value) : runtime_(runtime), value_(value) {
  if (!is_iterable(value)) runtime.fault("'{}' object is not iterable", type_name(value));
}

bool ItemSource::next_character(Value& item) {
  const std::string_view rest = value_.text().substr(place_);
  if (rest.empty()) return false;
  const std::size_t length = first_length(rest);
  item = runtime_.character(rest.substr(0, length));
  place_ += length;
  return true;
}

bool ItemSource::next_of_view(Value& item) {
  const auto& members = value_.view->dict->items;
  if (place_ >= members.size()) return false;
  const auto& [key, value] = members[place_++];
  switch (value_.view->part) {
    case ViewObject::Part::kKeys: item = key; break;
    case ViewObject::Part::kValues: item = value; break;
    case ViewObject::Part::kItems: item = runtime_.pair(key, value); break;
  }
  return true;
}

bool ItemSource::next(Value& item) {
  runtime_.charge(1);
  switch (value_.kind) {
    case Kind::kString: return next_character(item);
    case Kind::kList:
    case Kind::kTuple:
      if (place_ >= value_.sequence->items.size()) return false;
      item = value_.sequence->items[place_++];
      return true;
    case Kind::kDict:
      if (place_ >= value_.dict->items.size()) return false;
      item = value_.dict->items[place_++].first;
      return true;
    case Kind::kRange:
      if (static_cast<std::int64_t>(place_) >= value_.range->length) return false;
      item =
          Value::of(value_.range->start + static_cast<std::int64_t>(place_++) * value_.range->step);
      return true;
    case Kind::kView: return next_of_view(item);
    case Kind::kIterator: {
      IteratorObject& iterator = *value_.iterator;
      if (iterator.next >= iterator.items.size()) {
        if (!iterator.fault.empty())
          throw Error(ErrorCode::kInvalidArgument, std::string(iterator.fault));
        return false;
      }
      item = iterator.items[iterator.next++];
      return true;
    }
    default: return false;
  }
}

std::vector<Value> to_vector(Runtime& runtime, const Value& value) {
  ItemSource source(runtime, value);
  std::vector<Value> items;
  const std::int64_t length = length_of(value).value_or(0);
  runtime.arena.require(static_cast<std::size_t>(length) * sizeof(Value));
  items.reserve(static_cast<std::size_t>(length));
  for (Value item; source.next(item);) items.push_back(item);
  return items;
}

bool item_at(Runtime& runtime, const Value& value, std::int64_t index, Value& item) {
  const std::int64_t length = *length_of(value);
  if (index < 0) index += length;
  if (index < 0 || index >= length) return false;
  if (value.is_string()) {
    const StringObject& string = *value.string;
    if (!string.is_ascii()) runtime.charge_bytes(string.text.size());
    const std::size_t begin =
        string.is_ascii() ? static_cast<std::size_t>(index) : byte_offset(string.text, index);
    const std::string_view rest = string.text.substr(begin);
    item = runtime.character(rest.substr(0, first_length(rest)));
  } else if (value.is(Kind::kRange)) {
    item = Value::of(value.range->start + index * value.range->step);
  } else {
    item = value.sequence->items[static_cast<std::size_t>(index)];
  }
  return true;
}

Value slice(Runtime& runtime, const Value& value, const Value& start, const Value& stop,
            const Value& step) {
  if (value.is_undefined()) runtime.fault_undefined(value);
  const bool sliceable = value.is_string() || value.is_array() || value.is(Kind::kRange);
  if (!sliceable) runtime.fault("a '{}' cannot be sliced", type_name(value));
  const Bounds bounds = slice_bounds(runtime, *length_of(value), start, stop, step);
  if (value.is_string()) {
    Value result = slice_text(runtime, *value.string, bounds);
    return value.string->markup ? runtime.markup(result) : result;
  }
  if (value.is(Kind::kRange)) return slice_range(runtime, *value.range, bounds);
  std::vector<Value> items;
  std::int64_t place = bounds.start;
  runtime.arena.require(static_cast<std::size_t>(bounds.count) * sizeof(Value));
  runtime.charge(static_cast<std::uint64_t>(bounds.count) / 4);
  for (std::int64_t i = 0; i < bounds.count; ++i, place += i < bounds.count ? bounds.step : 0) {
    Value item;
    item_at(runtime, value, place, item);
    items.push_back(item);
  }
  return runtime.sequence(value.kind, items);
}

}  // namespace tenon::jinja
