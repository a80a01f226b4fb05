// Making values, and the errors that limits and undefined values end in.
// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/runtime.h"

#include <algorithm>
#include <cstring>

#include "text/jinja/repr.h"
#include "text/jinja/unicode.h"

namespace tenon::jinja {

void Runtime::out_of_steps() const {
  fail_at(site, ErrorCode::kResourceExhausted,
          "the template runs too long: more than {} steps; expected an end", limits_.steps);
}

void Runtime::too_deep() const {
  fail_at(site, ErrorCode::kResourceExhausted,
          "blocks, expressions or macro calls nest more than {} deep", limits_.depth);
}

void Runtime::fault_undefined(const Value& value) const {
  const UndefinedObject* object = value.undefined;
  if (object == nullptr) fault("an undefined value was used");
  if (!object->hint.empty()) fault("{}", object->hint);
  if (!object->has_object) fault("{} is undefined", quick_repr(object->name));
  const std::string kind =
      object->object.is_none() ? "None" : std::string(type_name(object->object)) + " object";
  if (!object->name.is_string()) fault("{} has no element {}", kind, quick_repr(object->name));
  fault("'{}' has no attribute {}", kind, quick_repr(object->name));
}

Value Runtime::text(std::string_view text) {
  if (text.size() == 1 && static_cast<unsigned char>(text[0]) < characters_.size())
    return character(text);  // keeps no pointer to `text`, as it does for other characters
  charge_bytes(text.size());
  char* copy = arena.bytes(text.size());
  if (!text.empty()) std::memcpy(copy, text.data(), text.size());
  return text_view({copy, text.size()});
}

Value Runtime::text_view(std::string_view text) {
  charge_bytes(text.size());
  return text_view(text, code_point_count(text));
}

Value Runtime::text_view(std::string_view text, std::int64_t length) {
  auto* object = arena.make<StringObject>();
  object->text = text;
  object->length = length;
  return Value::of(object);
}

Value Runtime::character(std::string_view text) {
  const auto byte = static_cast<unsigned char>(text[0]);
  if (text.size() != 1 || byte >= characters_.size()) return text_view(text, 1);
  if (characters_[byte] == nullptr) {
    char* copy = arena.bytes(1);
    *copy = text[0];
    characters_[byte] = text_view({copy, 1}, 1).string;
  }
  return Value::of(characters_[byte]);
}

Value Runtime::concat(const Value& left, std::string_view right) {
  const StringObject& base = *left.string;
  charge_bytes(right.size());
  const std::int64_t length = base.length + code_point_count(right);
  StringBuffer* buffer = base.buffer;
  const char* begin = base.text.data();
  const bool continues = buffer != nullptr && buffer->end == begin + base.text.size() &&
                         static_cast<std::size_t>(buffer->limit - buffer->end) >= right.size();
  if (!continues) {
    charge_bytes(base.text.size());
    const std::size_t size = base.text.size() + right.size();
    const std::size_t capacity = size + std::max<std::size_t>(size / 2, 16);
    char* start = arena.bytes(capacity);
    if (!base.text.empty()) std::memcpy(start, base.text.data(), base.text.size());
    buffer = arena.make<StringBuffer>();
    buffer->end = start + base.text.size();
    buffer->limit = start + capacity;
    begin = start;
  }
  if (!right.empty()) std::memcpy(buffer->end, right.data(), right.size());
  buffer->end += right.size();
  auto* object = arena.make<StringObject>();
  object->text = {begin, base.text.size() + right.size()};
  object->length = length;
  object->buffer = buffer;
  return Value::of(object);
}

Value Runtime::markup(const Value& string) {
  auto* object = arena.make<StringObject>(*string.string);
  object->markup = true;
  return Value::of(object);
}

Value Runtime::sequence(Kind kind, const std::vector<Value>& items) {
  charge(items.size() / 4);
  auto* object = arena.make<SequenceObject>(
      SequenceObject{std::pmr::vector<Value>(items.begin(), items.end(), &arena)});
  Value result;
  result.kind = kind;
  result.sequence = object;
  return result;
}

Value Runtime::pair(const Value& first, const Value& second) { return tuple({first, second}); }

Value Runtime::iterator(const std::vector<Value>& items, std::string_view type_name) {
  charge(items.size() / 4);
  Value result;
  result.kind = Kind::kIterator;
  result.iterator = arena.make<IteratorObject>(
      IteratorObject{std::pmr::vector<Value>(items.begin(), items.end(), &arena), 0, type_name});
  return result;
}

Value Runtime::new_dict() {
  Value result;
  result.kind = Kind::kDict;
  result.dict = arena.make<DictObject>(&arena);
  return result;
}

Value Runtime::function(std::string_view name, Function body, const Value& self) {
  Value result;
  result.kind = Kind::kFunction;
  result.function = arena.make<FunctionObject>(FunctionObject{name, body, self});
  return result;
}

namespace {
Value undefined_of(const UndefinedObject* object) {
  Value result;
  result.kind = Kind::kUndefined;
  result.undefined = object;
  return result;
}
}  // namespace

Value Runtime::undefined_name(std::string_view name) {
  auto* object = arena.make<UndefinedObject>();
  object->name = text_view(name);
  return undefined_of(object);
}

Value Runtime::undefined_hint(std::string_view hint) {
  auto* object = arena.make<UndefinedObject>();
  object->hint = text(hint).text();
  return undefined_of(object);
}

Value Runtime::undefined_member(const Value& object, const Value& name) {
  auto* undefined = arena.make<UndefinedObject>();
  undefined->name = name;
  undefined->object = object;
  undefined->has_object = true;
  return undefined_of(undefined);
}

void TextBuilder::append_repeated(std::string_view text, std::int64_t count) {
  if (count <= 0 || text.empty()) return;
  const auto times = static_cast<std::size_t>(count);
  runtime_.arena.require(times > SIZE_MAX / 2 / text.size() ? SIZE_MAX : times * text.size());
  runtime_.charge(times / 16);
  for (std::int64_t i = 0; i < count; ++i) append(text);
}

}  // namespace tenon::jinja
