// Equality, order and membership.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstring>

#include "text/jinja/dict.h"
#include "text/jinja/items.h"
#include "text/jinja/operators.h"
#include "text/jinja/repr.h"

namespace tenon::jinja {
namespace {

std::string_view symbol(Op op) {
  switch (op) {
    case Op::kLess: return "<";
    case Op::kLessEqual: return "<=";
    case Op::kGreater: return ">";
    default: return ">=";
  }
}

/// Exact: an integer of 64 bits and a double are compared without rounding either.
int compare_numbers(const Value& left, const Value& right) {
  if (left.is_integral() && right.is_integral()) {
    const std::int64_t a = left.as_integer();
    const std::int64_t b = right.as_integer();
    return a < b ? -1 : a > b ? 1 : 0;
  }
  if (!left.is_integral() && right.is_integral()) return -compare_numbers(right, left);
  const double b = right.real;
  if (!left.is_integral()) return left.real < b ? -1 : left.real > b ? 1 : 0;
  if (b >= 0x1p63) return -1;
  if (b < -0x1p63) return 1;
  const std::int64_t a = left.as_integer();
  const double whole = std::trunc(b);
  const auto integral = static_cast<std::int64_t>(whole);
  if (a != integral) return a < integral ? -1 : 1;
  return whole < b ? -1 : whole > b ? 1 : 0;
}

bool has_nan(const Value& left, const Value& right) {
  return (left.is(Kind::kFloat) && std::isnan(left.real)) ||
         (right.is(Kind::kFloat) && std::isnan(right.real));
}

bool apply_order(Op op, int order) {
  switch (op) {
    case Op::kLess: return order < 0;
    case Op::kLessEqual: return order <= 0;
    case Op::kGreater: return order > 0;
    default: return order >= 0;
  }
}

bool equal_sequences(Runtime& runtime, const Value& left, const Value& right) {
  const auto& a = left.sequence->items;
  const auto& b = right.sequence->items;
  if (left.sequence == right.sequence) return true;
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(),
                    [&](const Value& x, const Value& y) { return equals(runtime, x, y); });
}

bool equal_dicts(Runtime& runtime, const DictObject& a, const DictObject& b) {
  if (&a == &b) return true;
  if (a.items.size() != b.items.size()) return false;
  return std::all_of(a.items.begin(), a.items.end(), [&](const auto& member) {
    const Value* other = dict_find(runtime, b, member.first);
    return other != nullptr && equals(runtime, member.second, *other);
  });
}

bool equal_ranges(const RangeObject& a, const RangeObject& b) {
  if (a.length != b.length) return false;
  return a.length == 0 || (a.start == b.start && (a.length == 1 || a.step == b.step));
}

/// <, <=, >, >= of two arrays: the first items that differ decide.
bool order_sequences(Runtime& runtime, Op op, const Value& left, const Value& right) {
  const Runtime::Nest nest(runtime);
  const auto& a = left.sequence->items;
  const auto& b = right.sequence->items;
  const std::size_t common = std::min(a.size(), b.size());
  for (std::size_t i = 0; i < common; ++i)
    if (!equals(runtime, a[i], b[i])) return compare(runtime, op, a[i], b[i]);
  return apply_order(op, a.size() < b.size() ? -1 : a.size() > b.size() ? 1 : 0);
}

bool order(Runtime& runtime, Op op, const Value& left, const Value& right) {
  if (left.is_undefined()) runtime.fault_undefined(left);
  if (right.is_undefined()) runtime.fault_undefined(right);
  if (left.is_number() && right.is_number())
    return !has_nan(left, right) && apply_order(op, compare_numbers(left, right));
  if (left.is_string() && right.is_string()) {
    runtime.charge_bytes(std::min(left.text().size(), right.text().size()));
    return apply_order(op, left.text().compare(right.text()));
  }
  if (left.is_array() && right.kind == left.kind) return order_sequences(runtime, op, left, right);
  runtime.fault("'{}' not supported between instances of '{}' and '{}'", symbol(op),
                type_name(left), type_name(right));
}

}  // namespace

bool equals(Runtime& runtime, const Value& left, const Value& right) {
  runtime.charge(1);
  if (left.is_number() && right.is_number())
    return !has_nan(left, right) && compare_numbers(left, right) == 0;
  if (left.kind != right.kind) return false;
  const Runtime::Nest nest(runtime);
  switch (left.kind) {
    case Kind::kUndefined:
    case Kind::kNone: return true;
    case Kind::kString:
      if (left.text().size() != right.text().size()) return false;
      runtime.charge_bytes(left.text().size());
      return left.text() == right.text();
    case Kind::kList:
    case Kind::kTuple: return equal_sequences(runtime, left, right);
    case Kind::kDict: return equal_dicts(runtime, *left.dict, *right.dict);
    case Kind::kRange: return equal_ranges(*left.range, *right.range);
    default: return left.sequence == right.sequence;
  }
}

bool compare(Runtime& runtime, Op op, const Value& left, const Value& right) {
  switch (op) {
    case Op::kEqual: return equals(runtime, left, right);
    case Op::kNotEqual: return !equals(runtime, left, right);
    case Op::kIn: return contains(runtime, right, left);
    case Op::kNotIn: return !contains(runtime, right, left);
    default: return order(runtime, op, left, right);
  }
}

bool contains(Runtime& runtime, const Value& container, const Value& item) {
  if (container.is_string()) {
    if (!item.is_string())
      runtime.fault("'in <string>' requires string as left operand, not {}", type_name(item));
    return find_text(runtime, container.text(), item.text()) != std::string_view::npos;
  }
  if (container.is(Kind::kDict)) {
    if (!is_hashable(item)) runtime.fault("unhashable type: '{}'", type_name(item));
    return dict_find(runtime, *container.dict, item) != nullptr;
  }
  if (!is_iterable(container))
    runtime.fault("argument of type '{}' is not iterable", type_name(container));
  ItemSource items(runtime, container);
  for (Value candidate; items.next(candidate);)
    if (equals(runtime, candidate, item)) return true;
  return false;
}

std::size_t find_text(Runtime& runtime, std::string_view text, std::string_view needle) {
  if (needle.empty()) return 0;
  if (text.size() < needle.size()) return std::string_view::npos;  // text may be null too
  // memmem is the two-way algorithm: linear where std::search would be quadratic.
  const void* found = memmem(text.data(), text.size(), needle.data(), needle.size());
  const std::size_t place =
      found == nullptr ? std::string_view::npos
                       : static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
  runtime.charge(1);
  runtime.charge_bytes(std::min(place, text.size()) + needle.size());
  return place;
}

}  // namespace tenon::jinja
