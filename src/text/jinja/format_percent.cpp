// The % operator on strings.
// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "core/utf8.h"
#include "text/jinja/dict.h"
#include "text/jinja/number_format.h"
#include "text/jinja/operators.h"
#include "text/jinja/repr.h"
#include "text/jinja/unicode.h"

namespace tenon::jinja {
namespace {

class PercentFormatter {
 public:
  PercentFormatter(Runtime& runtime, std::string_view text, const Value& values)
      : runtime_(runtime), rest_(text), values_(values), out_(runtime) {}
  Value run();

 private:
  char take();
  Value next_value();
  std::int64_t number();
  void read_key();
  void read_flags(FieldFormat& format, bool& zero);
  void field();
  Value convert(const Value& value, FieldFormat& format, bool zero);
  Value convert_integer(const Value& value, FieldFormat& format);
  Value convert_character(const Value& value);

  Runtime& runtime_;
  std::string_view rest_;
  const Value& values_;
  TextBuilder out_;
  std::size_t used_ = 0;
  bool has_key_ = false;
  bool keyed_ = false;  ///< some field had a key
  Value key_value_;
};

char PercentFormatter::take() {
  if (rest_.empty()) runtime_.fault("incomplete format");
  const char c = rest_[0];
  rest_.remove_prefix(1);
  return c;
}

Value PercentFormatter::next_value() {
  if (has_key_) return key_value_;
  const bool tuple = values_.is(Kind::kTuple);
  const std::size_t count = tuple ? values_.sequence->items.size() : 1;
  if (used_ >= count) runtime_.fault("not enough arguments for format string");
  const std::size_t place = used_++;
  return tuple ? values_.sequence->items[place] : values_;
}

std::int64_t PercentFormatter::number() {
  std::int64_t value = 0;
  if (!rest_.empty() && rest_[0] == '*') {
    take();
    const Value given = next_value();
    if (!given.is_integral()) runtime_.fault("* wants int");
    value = given.as_integer();
  } else {
    while (!rest_.empty() && rest_[0] >= '0' && rest_[0] <= '9' && value <= kMaxFieldWidth)
      value = value * 10 + (take() - '0');
  }
  if (value > kMaxFieldWidth || value < -kMaxFieldWidth)
    runtime_.fault("format: widths up to {} are supported", kMaxFieldWidth);
  return value;
}

void PercentFormatter::read_key() {
  if (!values_.is(Kind::kDict)) runtime_.fault("format requires a mapping");
  int depth = 1;
  std::size_t length = 0;
  while (length < rest_.size() && depth > 0) {
    depth += rest_[length] == '(' ? 1 : rest_[length] == ')' ? -1 : 0;
    ++length;
  }
  if (depth > 0) runtime_.fault("incomplete format key");
  const std::string_view key = rest_.substr(0, length - 1);
  const Value* found = dict_find(runtime_, *values_.dict, key);
  if (found == nullptr) runtime_.fault("format: the mapping has no key '{}'", key);
  key_value_ = *found;
  has_key_ = keyed_ = true;
  rest_.remove_prefix(length);
}

void PercentFormatter::read_flags(FieldFormat& format, bool& zero) {
  for (;; take()) {
    const char c = rest_.empty() ? '\0' : rest_[0];
    if (c == '-') {
      format.align = '<';
    } else if (c == '+') {
      format.sign = '+';
    } else if (c == ' ') {
      format.sign = format.sign == '+' ? '+' : ' ';
    } else if (c == '#') {
      format.alternate = true;
    } else if (c == '0') {
      zero = true;
    } else {
      return;
    }
  }
}

Value PercentFormatter::convert_character(const Value& value) {
  if (value.is_string() && value.string->length == 1) return value;
  if (!value.is_integral() || value.as_integer() < 0 || value.as_integer() > 0x10FFFF)
    runtime_.fault("%c requires int or char");
  std::string text;
  utf8::append(text, static_cast<char32_t>(value.as_integer()));
  return runtime_.text(text);
}

Value PercentFormatter::convert_integer(const Value& value, FieldFormat& format) {
  if (value.is_undefined()) runtime_.fault_undefined(value);
  const bool decimal = format.type == 'd' || format.type == 'i' || format.type == 'u';
  if (!value.is_integral() && !(decimal && value.is(Kind::kFloat)))
    runtime_.fault("%{} format: a real number is required, not {}", format.type, type_name(value));
  if (value.is(Kind::kFloat) && !(std::fabs(value.real) < 0x1p63))
    runtime_.fault("%d format: the number is too large");
  const std::int64_t number =
      value.is(Kind::kFloat) ? static_cast<std::int64_t>(value.real) : value.as_integer();
  FieldFormat digits = format;
  digits.alternate = false;
  std::string text = integer_digits(number, digits);
  const auto wanted = static_cast<std::size_t>(format.precision.value_or(0));
  if (text.size() < wanted) text.insert(0, wanted - text.size(), '0');
  if (format.alternate && !decimal) text = fmt::format("0{}{}", format.type, text);
  format.precision.reset();
  return layout_number(runtime_, text, number < 0, format);
}

Value PercentFormatter::convert(const Value& value, FieldFormat& format, bool zero) {
  if (zero && format.align == 0) {
    format.fill = "0";
    format.align = '=';
  }
  switch (format.type) {
    case 's':
    case 'r':
    case 'a': {
      format.fill = " ";
      if (format.align != '<') format.align = '>';
      return layout_text(
          runtime_, format.type == 's' ? to_text(runtime_, value) : repr(runtime_, value), format);
    }
    case 'c':
      format.fill = " ";
      if (format.align != '<') format.align = '>';
      format.precision.reset();
      return layout_text(runtime_, convert_character(value), format);
    case 'd':
    case 'i':
    case 'u':
    case 'x':
    case 'X':
    case 'o': return convert_integer(value, format);
    case 'e':
    case 'E':
    case 'f':
    case 'F':
    case 'g':
    case 'G':
      if (value.is_undefined()) runtime_.fault_undefined(value);
      if (!value.is_number()) runtime_.fault("must be real number, not {}", type_name(value));
      return layout_number(runtime_, real_digits(value.as_real(), format),
                           std::signbit(value.as_real()), format);
    default: runtime_.fault("unsupported format character '{}'", format.type);
  }
}

void PercentFormatter::field() {
  FieldFormat format;
  bool zero = false;
  has_key_ = false;
  if (!rest_.empty() && rest_[0] == '(') {
    take();
    read_key();
  }
  read_flags(format, zero);
  format.width = number();
  if (format.width < 0) {
    format.align = '<';
    format.width = -format.width;
  }
  if (!rest_.empty() && rest_[0] == '.') {
    take();
    format.precision = std::max<std::int64_t>(number(), 0);
  }
  while (!rest_.empty() && (rest_[0] == 'l' || rest_[0] == 'h' || rest_[0] == 'L')) take();
  format.type = take();
  if (format.type == '%') {
    out_.append("%");
  } else {
    out_.append(convert(next_value(), format, zero).text());
  }
}

Value PercentFormatter::run() {
  while (!rest_.empty()) {
    runtime_.charge(1);
    const std::size_t mark = rest_.find('%');
    out_.append(rest_.substr(0, mark));
    if (mark == std::string_view::npos) break;
    rest_.remove_prefix(mark + 1);
    field();
  }
  const bool tuple = values_.is(Kind::kTuple);
  // What can be subscribed passes for a mapping, whose items may stay unused.
  const bool mapping = values_.is(Kind::kDict) || values_.is(Kind::kList) ||
                       values_.is(Kind::kRange) || values_.is_undefined();
  const std::size_t given = tuple ? values_.sequence->items.size() : mapping ? 0 : 1;
  if (!keyed_ && used_ < given)
    runtime_.fault("not all arguments converted during string formatting");
  return out_.finish();
}

}  // namespace

Value format_percent(Runtime& runtime, const Value& text, const Value& value) {
  return PercentFormatter(runtime, text.text(), value).run();
}

}  // namespace tenon::jinja
