// Filters on numbers.
// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "text/jinja/arguments.h"
#include "text/jinja/filters.h"
#include "text/jinja/items.h"
#include "text/jinja/operators.h"
#include "text/jinja/unicode.h"

namespace tenon::jinja {
namespace {

/// Digits with single underscores between them, underscores removed; empty where malformed.
std::string plain_digits(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool inner = i > 0 && i + 1 < text.size() && text[i - 1] != '_';
    if (text[i] == '_' && !inner) return {};
    if (text[i] != '_') out += text[i];
  }
  return out;
}

std::optional<double> parse_real(std::string_view text) {
  text = strip_space(text, Side::kBoth);
  const std::string plain = plain_digits(text);
  if (plain.empty() || plain.find_first_of("xXpP(") != std::string::npos) return std::nullopt;
  char* end = nullptr;
  const double value = std::strtod(plain.c_str(), &end);
  if (end != plain.c_str() + plain.size()) return std::nullopt;
  return value;
}

std::int64_t truncated(Runtime& runtime, double value) {
  if (!(std::fabs(value) < 0x1p63)) runtime.fault("cannot convert {} to an integer", value);
  return static_cast<std::int64_t>(value);
}

Value to_int(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter 'int'", args, {"default", "base"});
  const Value missing = bound.get(0, Value::of(std::int64_t{0}));
  const std::int64_t base = bound.integer(1, 10);
  if (subject.is_undefined()) runtime.fault_undefined(subject);
  if (subject.is_integral()) return Value::of(subject.as_integer());
  if (subject.is(Kind::kFloat))
    return std::isnan(subject.real) ? missing : Value::of(truncated(runtime, subject.real));
  if (!subject.is_string()) return missing;
  runtime.charge_bytes(subject.text().size());
  if (const auto value = parse_integer(runtime, subject.text(), base)) return Value::of(*value);
  const auto real = parse_real(subject.text());
  if (!real.has_value() || !std::isfinite(*real)) return missing;
  return Value::of(truncated(runtime, *real));
}

Value to_float(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter 'float'", args, {"default"});
  if (subject.is_undefined()) runtime.fault_undefined(subject);
  if (subject.is_number()) return Value::of(subject.as_real());
  if (subject.is_string())
    if (const auto value = parse_real(subject.text())) return Value::of(*value);
  return bound.get(0, Value::of(0.0));
}

Value absolute(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter 'abs'", args, {});
  if (subject.is_undefined()) runtime.fault("bad operand type for abs(): 'Undefined'");
  if (subject.is(Kind::kFloat)) return Value::of(std::fabs(subject.real));
  if (!subject.is_integral()) runtime.fault("bad operand type for abs(): '{}'", type_name(subject));
  const std::int64_t value = subject.as_integer();
  return value < 0 ? negate(runtime, subject) : Value::of(value);
}

/// Python's round(): to even on ties of the exact binary value.
double round_to(double value, std::int64_t digits) {
  if (!std::isfinite(value) || digits > 320) return value;
  if (digits >= 0) {
    const std::string text = fmt::format("{:.{}f}", value, static_cast<int>(digits));
    return std::strtod(text.c_str(), nullptr);
  }
  if (digits < -308) return std::copysign(0.0, value);
  const double unit = std::pow(10.0, static_cast<double>(-digits));
  return std::nearbyint(value / unit) * unit;
}

Value round_integer(Runtime& runtime, std::int64_t value, std::int64_t digits) {
  if (digits >= 0) return Value::of(value);
  if (digits < -18) return Value::of(std::int64_t{0});
  std::int64_t unit = 1;
  for (std::int64_t i = digits; i < 0; ++i) unit *= 10;
  const std::int64_t rest = ((value % unit) + unit) % unit;
  const std::int64_t floor = value - rest;
  const bool odd = (floor / unit) % 2 != 0;
  const bool up = rest * 2 > unit || (rest * 2 == unit && odd);
  return arithmetic(runtime, Op::kAdd, Value::of(floor), Value::of(up ? unit : 0));
}

Value round(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter 'round'", args, {"precision", "method"});
  const std::int64_t digits = bound.integer(0, 0);
  const std::string_view method = bound.text(1, "common");
  if (method != "common" && method != "ceil" && method != "floor")
    runtime.fault("method must be common, ceil or floor");
  if (subject.is_undefined()) runtime.fault("type Undefined doesn't define __round__ method");
  if (!subject.is_number())
    runtime.fault("type {} doesn't define __round__ method", type_name(subject));
  if (method == "common") {
    if (subject.is_integral()) return round_integer(runtime, subject.as_integer(), digits);
    return Value::of(round_to(subject.real, digits));
  }
  const Value scale =
      arithmetic(runtime, Op::kPower, Value::of(std::int64_t{10}), Value::of(digits));
  const double scaled = arithmetic(runtime, Op::kMultiply, subject, scale).as_real();
  const std::int64_t whole =
      truncated(runtime, method == "ceil" ? std::ceil(scaled) : std::floor(scaled));
  return arithmetic(runtime, Op::kDivide, Value::of(whole), scale);
}

constexpr std::array kFilters{
    Method{"int", to_int},
    Method{"float", to_float},
    Method{"abs", absolute},
    Method{"round", round},
};

}  // namespace

std::optional<std::int64_t> parse_integer(Runtime& runtime, std::string_view text,
                                          std::int64_t base) {
  if (base != 0 && (base < 2 || base > 36)) return std::nullopt;
  text = strip_space(text, Side::kBoth);
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (text.size() > 2 && text[0] == '0') {
    const char mark = static_cast<char>(text[1] | 0x20);
    const int named = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
    if (named != 0 && (base == 0 || base == named)) {
      base = named;
      text.remove_prefix(text[2] == '_' ? 3 : 2);
    }
  }
  const std::string digits = plain_digits(text);
  if (digits.empty() || digits[0] == '-' || digits[0] == '+') return std::nullopt;
  const bool leading_zero = digits.size() > 1 && digits[0] == '0';
  if (base == 0 && leading_zero && digits.find_first_not_of('0') != std::string::npos)
    return std::nullopt;
  const std::string signed_digits = (negative ? "-" : "") + digits;
  std::int64_t value = 0;
  const char* end = signed_digits.data() + signed_digits.size();
  const auto result =
      std::from_chars(signed_digits.data(), end, value, base == 0 ? 10 : static_cast<int>(base));
  if (result.ptr != end) return std::nullopt;
  if (result.ec != std::errc()) runtime.fault("an integer of more than 64 bits");
  return value;
}

std::span<const Method> number_filters() { return kFilters; }

}  // namespace tenon::jinja
