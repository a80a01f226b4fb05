// Arithmetic with Python's rules: floor division, sequences that add and repeat, no overflow in
// silence.
// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "text/jinja/filters.h"
#include "text/jinja/items.h"
#include "text/jinja/operators.h"
#include "text/jinja/repr.h"

namespace tenon::jinja {
namespace {

std::string_view symbol(Op op) {
  switch (op) {
    case Op::kAdd: return "+";
    case Op::kSubtract: return "-";
    case Op::kMultiply: return "*";
    case Op::kDivide: return "/";
    case Op::kFloorDivide: return "//";
    case Op::kModulo: return "%";
    default: return "**";
  }
}

std::int64_t integer_power(Runtime& runtime, std::int64_t base, std::int64_t exponent) {
  if (base == 0 || base == 1) return exponent == 0 ? 1 : base;
  if (base == -1) return exponent % 2 == 0 ? 1 : -1;
  std::int64_t result = 1;
  for (std::int64_t i = 0; i < exponent; ++i)  // ends by overflow after 63 rounds at most
    if (__builtin_mul_overflow(result, base, &result))
      runtime.fault("an integer grows beyond 64 bits");
  return result;
}

Value integers(Runtime& runtime, Op op, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  bool overflow = false;
  switch (op) {
    case Op::kAdd: overflow = __builtin_add_overflow(a, b, &result); break;
    case Op::kSubtract: overflow = __builtin_sub_overflow(a, b, &result); break;
    case Op::kMultiply: overflow = __builtin_mul_overflow(a, b, &result); break;
    case Op::kFloorDivide:
    case Op::kModulo: {
      if (b == 0) runtime.fault("integer division or modulo by zero");
      if (b == -1) {  // also keeps INT64_MIN away from the machine's division
        if (op == Op::kModulo) return Value::of(std::int64_t{0});
        overflow = __builtin_sub_overflow(std::int64_t{0}, a, &result);
        break;
      }
      const std::int64_t remainder = a % b;
      const bool adjust = remainder != 0 && (remainder < 0) != (b < 0);
      result = op == Op::kModulo ? (adjust ? remainder + b : remainder) : a / b - (adjust ? 1 : 0);
      break;
    }
    default: result = integer_power(runtime, a, b); break;
  }
  if (overflow) runtime.fault("an integer grows beyond 64 bits");
  return Value::of(result);
}

double real_modulo(double a, double b) {
  double result = std::fmod(a, b);
  if (result == 0) return std::copysign(0.0, b);
  if ((result < 0) != (b < 0)) result += b;
  return result;
}

double real_power(Runtime& runtime, double a, double b) {
  if (a == 0 && b < 0) runtime.fault("0.0 cannot be raised to a negative power");
  if (a < 0 && std::floor(b) != b && std::isfinite(a) && std::isfinite(b))
    runtime.fault("a negative number to a fraction's power is complex");
  const double result = std::pow(a, b);
  if (std::isinf(result) && std::isfinite(a) && std::isfinite(b))
    runtime.fault("the result of ** is too large");
  return result;
}

Value reals(Runtime& runtime, Op op, double a, double b) {
  const bool divides = op == Op::kDivide || op == Op::kFloorDivide || op == Op::kModulo;
  if (divides && b == 0) runtime.fault("float division or modulo by zero");
  switch (op) {
    case Op::kAdd: return Value::of(a + b);
    case Op::kSubtract: return Value::of(a - b);
    case Op::kMultiply: return Value::of(a * b);
    case Op::kDivide: return Value::of(a / b);
    case Op::kFloorDivide: {
      const double quotient = (a - real_modulo(a, b)) / b;
      const double floor = std::floor(quotient);
      return Value::of(quotient - floor > 0.5 ? floor + 1 : floor);
    }
    case Op::kModulo: return Value::of(real_modulo(a, b));
    default: return Value::of(real_power(runtime, a, b));
  }
}

Value numbers(Runtime& runtime, Op op, const Value& left, const Value& right) {
  const bool integral = left.is_integral() && right.is_integral();
  if (integral && op == Op::kDivide && right.as_integer() == 0) runtime.fault("division by zero");
  const bool fraction = op == Op::kDivide || (op == Op::kPower && right.as_real() < 0);
  if (integral && !fraction) return integers(runtime, op, left.as_integer(), right.as_integer());
  return reals(runtime, op, left.as_real(), right.as_real());
}

Value add(Runtime& runtime, const Value& left, const Value& right) {
  if (left.is_string() && right.is_string()) {
    if (!left.string->markup && !right.string->markup) return runtime.concat(left, right.text());
    // Markup escapes whatever plain text joins it.
    const Value safe_left = escape_html(runtime, left);
    return runtime.markup(runtime.concat(safe_left, escape_html(runtime, right).text()));
  }
  const auto& a = left.sequence->items;
  const auto& b = right.sequence->items;
  runtime.arena.require((a.size() + b.size()) * sizeof(Value));
  std::vector<Value> items(a.begin(), a.end());
  items.insert(items.end(), b.begin(), b.end());
  return runtime.sequence(left.kind, items);
}

Value repeat(Runtime& runtime, const Value& value, std::int64_t count) {
  if (value.is_string()) {
    TextBuilder out(runtime);
    out.append_repeated(value.text(), count);
    const Value result = out.finish();
    return value.string->markup ? runtime.markup(result) : result;
  }
  const auto& items = value.sequence->items;
  std::vector<Value> result;
  if (count > 0 && !items.empty()) {
    const auto times = static_cast<std::size_t>(count);
    const std::size_t unit = items.size() * sizeof(Value);
    runtime.arena.require(times > SIZE_MAX / 2 / unit ? SIZE_MAX : times * unit);
    runtime.charge(times);
    for (std::size_t i = 0; i < times; ++i) result.insert(result.end(), items.begin(), items.end());
  }
  return runtime.sequence(value.kind, result);
}

bool repeatable(const Value& value) { return value.is_string() || value.is_array(); }

}  // namespace

Value arithmetic(Runtime& runtime, Op op, const Value& left, const Value& right) {
  if (op == Op::kModulo && left.is_string()) return format_percent(runtime, left, right);
  if (left.is_undefined()) runtime.fault_undefined(left);
  if (right.is_undefined()) runtime.fault_undefined(right);
  if (left.is_number() && right.is_number()) return numbers(runtime, op, left, right);
  const bool joins = (left.is_string() || left.is_array()) && left.kind == right.kind;
  if (op == Op::kAdd && joins) return add(runtime, left, right);
  if (op == Op::kMultiply && repeatable(left) && right.is_integral())
    return repeat(runtime, left, right.as_integer());
  if (op == Op::kMultiply && repeatable(right) && left.is_integral())
    return repeat(runtime, right, left.as_integer());
  runtime.fault("unsupported operand type(s) for {}: '{}' and '{}'", symbol(op), type_name(left),
                type_name(right));
}

Value negate(Runtime& runtime, const Value& value) {
  if (value.is_undefined()) runtime.fault_undefined(value);
  if (value.is(Kind::kFloat)) return Value::of(-value.real);
  if (!value.is_integral()) runtime.fault("bad operand type for unary -: '{}'", type_name(value));
  return integers(runtime, Op::kSubtract, 0, value.as_integer());
}

}  // namespace tenon::jinja
