// str.format(), with the sandbox's attribute rules.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <charconv>
#include <cmath>

#include "text/jinja/attributes.h"
#include "text/jinja/methods.h"
#include "text/jinja/number_format.h"
#include "text/jinja/repr.h"
#include "text/jinja/unicode.h"

namespace tenon::jinja {
namespace {

bool all_digits(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

class BraceFormatter {
 public:
  BraceFormatter(Runtime& runtime, const Args& args) : runtime_(runtime), args_(args) {}
  Value run(std::string_view text, int depth);

 private:
  Value field(std::string_view body, int depth);
  Value lookup(std::string_view name);
  Value positional(std::string_view digits);
  Value path(Value value, std::string_view rest);
  FieldFormat parse_spec(std::string_view spec);
  std::int64_t number(std::string_view& spec);
  Value convert(const Value& value, const FieldFormat& format, std::string_view spec);

  Runtime& runtime_;
  const Args& args_;
  std::size_t next_ = 0;
};

/// Length of the text up to the brace that closes a field.
std::size_t field_length(Runtime& runtime, std::string_view text) {
  int depth = 1;
  for (std::size_t i = 0; i < text.size(); ++i) {
    depth += text[i] == '{' ? 1 : text[i] == '}' ? -1 : 0;
    if (depth == 0) return i;
  }
  runtime.fault("expected '}}' before end of string");
}

Value BraceFormatter::run(std::string_view text, int depth) {
  if (depth > 2) runtime_.fault("Max string recursion exceeded");
  TextBuilder out(runtime_);
  while (!text.empty()) {
    runtime_.charge(1);
    const std::size_t brace = text.find_first_of("{}");
    out.append(text.substr(0, brace));
    if (brace == std::string_view::npos) break;
    const char c = text[brace];
    text.remove_prefix(brace + 1);
    if (!text.empty() && text[0] == c) {
      out.append({&c, 1});
      text.remove_prefix(1);
      continue;
    }
    if (c == '}') runtime_.fault("Single '}}' encountered in format string");
    const std::size_t length = field_length(runtime_, text);
    out.append(field(text.substr(0, length), depth).text());
    text.remove_prefix(length + 1);
  }
  return out.finish();
}

Value BraceFormatter::positional(std::string_view digits) {
  std::size_t index = next_;
  if (digits.empty()) {
    ++next_;
  } else if (std::from_chars(digits.data(), digits.data() + digits.size(), index).ec !=
             std::errc()) {
    index = SIZE_MAX;
  }
  if (index >= args_.positional.size())
    runtime_.fault("Replacement index {} out of range for positional args tuple", index);
  return args_.positional[index];
}

Value BraceFormatter::lookup(std::string_view name) {
  if (name.empty() || all_digits(name)) return positional(name);
  for (const auto& [key, value] : args_.named)
    if (key == name) return value;
  runtime_.fault("format(): no argument named '{}'", name);
}

Value BraceFormatter::path(Value value, std::string_view rest) {
  while (!rest.empty()) {
    const bool attribute = rest[0] == '.';
    if (!attribute && rest[0] != '[')
      runtime_.fault("Only '.' or '[' may follow ']' in format field specifier");
    rest.remove_prefix(1);
    const std::size_t end =
        std::min(attribute ? rest.find_first_of(".[") : rest.find(']'), rest.size());
    if (!attribute && end == rest.size()) runtime_.fault("Missing ']' in format string");
    const std::string_view name = rest.substr(0, end);
    if (name.empty()) runtime_.fault("Empty attribute in format string");
    if (attribute) {
      value = get_attribute(runtime_, value, name);
    } else {
      std::int64_t index = 0;
      const bool digits = all_digits(name) && name.size() < 19;
      if (digits) std::from_chars(name.data(), name.data() + name.size(), index);
      value = get_item(runtime_, value, digits ? Value::of(index) : runtime_.text(name));
    }
    rest.remove_prefix(attribute ? end : end + 1);
  }
  return value;
}

Value BraceFormatter::field(std::string_view body, int depth) {
  std::size_t end = 0;  // of the name: a bracket may hold ':' and '!'
  bool bracket = false;
  while (end < body.size() && (bracket || (body[end] != ':' && body[end] != '!'))) {
    bracket = body[end] == '[' || (bracket && body[end] != ']');
    ++end;
  }
  const std::string_view name = body.substr(0, end);
  std::string_view rest = body.substr(end);
  const std::size_t split = std::min(name.find_first_of(".["), name.size());
  Value value = path(lookup(name.substr(0, split)), name.substr(split));
  if (rest.starts_with('!')) {
    const char kind = rest.size() > 1 ? rest[1] : '\0';
    if (kind != 's' && kind != 'r' && kind != 'a')
      runtime_.fault("expected !s, !r or !a in a format field");
    value = kind == 's' ? to_text(runtime_, value) : repr(runtime_, value);
    rest.remove_prefix(2);
  }
  if (rest.starts_with(':')) {
    rest.remove_prefix(1);
  } else if (!rest.empty()) {
    runtime_.fault("expected ':' after conversion specifier");
  }
  const std::string_view spec = run(rest, depth + 1).text();
  if (spec.empty()) return to_text(runtime_, value);
  return convert(value, parse_spec(spec), spec);
}

std::int64_t BraceFormatter::number(std::string_view& spec) {
  std::int64_t value = 0;
  while (!spec.empty() && spec[0] >= '0' && spec[0] <= '9') {
    value = value * 10 + (spec[0] - '0');
    spec.remove_prefix(1);
    if (value > kMaxFieldWidth)
      runtime_.fault("format: widths up to {} are supported", kMaxFieldWidth);
  }
  return value;
}

FieldFormat BraceFormatter::parse_spec(std::string_view spec) {
  const std::string_view whole = spec;
  FieldFormat format;
  const auto is_align = [](char c) { return c == '<' || c == '>' || c == '^' || c == '='; };
  const auto skip = [&](std::string_view set) -> char {
    if (spec.empty() || set.find(spec[0]) == std::string_view::npos) return 0;
    const char c = spec[0];
    spec.remove_prefix(1);
    return c;
  };
  const std::size_t first = first_length(spec);
  if (spec.size() > first && is_align(spec[first])) {
    format.fill = spec.substr(0, first);
    format.align = spec[first];
    spec.remove_prefix(first + 1);
  } else if (is_align(spec[0])) {
    format.align = skip("<>^=");
  }
  if (const char sign = skip("+- "); sign != 0) format.sign = sign;
  format.alternate = skip("#") != 0;
  if (skip("0") != 0 && format.align == 0) {
    format.fill = "0";
    format.align = '=';
  }
  format.width = number(spec);
  format.grouping = skip(",_");
  if (skip(".") != 0) {
    if (spec.empty() || spec[0] < '0' || spec[0] > '9')
      runtime_.fault("Format specifier missing precision");
    format.precision = number(spec);
  }
  if (!spec.empty()) {
    format.type = spec[0];
    spec.remove_prefix(1);
  }
  if (!spec.empty()) runtime_.fault("Invalid format specifier '{}'", whole);
  return format;
}

Value BraceFormatter::convert(const Value& value, const FieldFormat& format,
                              std::string_view spec) {
  const auto is_one_of = [&](std::string_view set) {
    return format.type == 0 || set.find(format.type) != std::string_view::npos;
  };
  if (value.is_string() && is_one_of("s")) {
    if (format.align == '=' && format.fill != "0")
      runtime_.fault("'=' alignment not allowed in string format specifier");
    FieldFormat text = format;
    if (text.align == '=') text.align = '<';
    return layout_text(runtime_, value, text);
  }
  const bool boolean = value.is(Kind::kBool) && format.type == 0;
  if (value.is_integral() && !boolean && is_one_of("dxXobn"))
    return layout_number(runtime_, integer_digits(value.as_integer(), format),
                         value.as_integer() < 0, format);
  if (value.is_integral() && boolean)
    return layout_number(runtime_, integer_digits(value.as_integer(), format), false, format);
  if (value.is_number() && is_one_of("eEfFgG%n"))
    return layout_number(runtime_, real_digits(value.as_real(), format),
                         std::signbit(value.as_real()), format);
  if (value.is_string() || value.is_number())
    runtime_.fault("Unknown format code '{}' for object of type '{}'", format.type,
                   type_name(value));
  runtime_.fault("unsupported format string '{}' passed to {}.__format__", spec, type_name(value));
}

}  // namespace

Value format_braces(Runtime& runtime, std::string_view text, const Args& args) {
  return BraceFormatter(runtime, args).run(text, 0);
}

}  // namespace tenon::jinja
