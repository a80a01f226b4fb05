// Digits, signs, grouping and padding.
// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/number_format.h"

#include <algorithm>
#include <cmath>

#include "core/utf8.h"
#include "text/jinja/items.h"
#include "text/jinja/methods.h"
#include "text/jinja/repr.h"

namespace tenon::jinja {
namespace {

std::string grouped(const std::string& digits, char mark, std::size_t every) {
  const std::size_t end =
      std::min(digits.find_first_not_of("0123456789abcdefABCDEF"), digits.size());
  std::string out;
  for (std::size_t i = 0; i < end; ++i) {
    if (i > 0 && (end - i) % every == 0) out += mark;
    out += digits[i];
  }
  return out + digits.substr(end);
}

std::string general(double value, const FieldFormat& format, bool upper) {
  const auto precision = static_cast<int>(std::max<std::int64_t>(format.precision.value_or(6), 1));
  std::string text = format.alternate ? fmt::format("{:#.{}g}", value, precision)
                                      : fmt::format("{:.{}g}", value, precision);
  if (upper)
    std::transform(text.begin(), text.end(), text.begin(),
                   [](char c) { return c == 'e' ? 'E' : c; });
  return text;
}

}  // namespace

std::string integer_digits(std::int64_t value, const FieldFormat& format) {
  const std::uint64_t size =
      value < 0 ? 0 - static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value);
  const auto with = [&](std::string digits, std::string_view prefix, std::size_t every) {
    if (format.grouping != 0) digits = grouped(digits, format.grouping, every);
    return format.alternate ? std::string(prefix) + digits : digits;
  };
  switch (format.type) {
    case 'x': return with(fmt::format("{:x}", size), "0x", 4);
    case 'X': return with(fmt::format("{:X}", size), "0X", 4);
    case 'o': return with(fmt::format("{:o}", size), "0o", 4);
    case 'b': return with(fmt::format("{:b}", size), "0b", 4);
    default: {
      const std::string digits = std::to_string(size);
      return format.grouping != 0 ? grouped(digits, format.grouping, 3) : digits;
    }
  }
}

std::string real_digits(double value, const FieldFormat& format) {
  const double size = std::fabs(value);
  const bool percent = format.type == '%';
  const auto precision = static_cast<int>(format.precision.value_or(6));
  std::string text;
  const bool upper = format.type == 'E' || format.type == 'F' || format.type == 'G';
  if (!std::isfinite(size)) {
    text = std::isnan(size) ? (upper ? "NAN" : "nan") : (upper ? "INF" : "inf");
    return percent ? text + '%' : text;
  }
  switch (format.type) {
    case 'f':
    case 'F':
      text = format.alternate ? fmt::format("{:#.{}f}", size, precision)
                              : fmt::format("{:.{}f}", size, precision);
      break;
    case '%': text = fmt::format("{:.{}f}", size * 100, precision) + '%'; break;
    case 'e': text = fmt::format("{:.{}e}", size, precision); break;
    case 'E': text = fmt::format("{:.{}E}", size, precision); break;
    case 'g': text = general(size, format, false); break;
    case 'G': text = general(size, format, true); break;
    default:
      text = format.precision.has_value() ? general(size, format, false) : format_float(size);
      if (format.precision.has_value() && text.find_first_of(".en") == std::string::npos)
        text += ".0";
      break;
  }
  return format.grouping != 0 ? grouped(text, format.grouping, 3) : text;
}

Value layout_number(Runtime& runtime, std::string digits, bool negative,
                    const FieldFormat& format) {
  std::string sign = negative ? "-" : format.sign == '-' ? "" : std::string(1, format.sign);
  if (format.align == '=') {
    const std::size_t prefix = format.alternate && digits.size() > 1 && digits[0] == '0' &&
                                       std::isalpha(static_cast<unsigned char>(digits[1])) != 0
                                   ? 2
                                   : 0;
    sign += digits.substr(0, prefix);
    digits = digits.substr(prefix);
    TextBuilder out(runtime);
    out.append(sign);
    out.append_repeated(format.fill,
                        format.width - static_cast<std::int64_t>(sign.size() + digits.size()));
    out.append(digits);
    return out.finish();
  }
  const Value text = runtime.text(sign + digits);
  if (text.string->length >= format.width) return text;
  FieldFormat padding = format;
  padding.precision.reset();
  if (padding.align == 0) padding.align = '>';
  return layout_text(runtime, text, padding);
}

Value layout_text(Runtime& runtime, const Value& text, const FieldFormat& format) {
  Value shown = text;
  if (format.precision.has_value() && *format.precision < text.string->length)
    shown = slice(runtime, text, {}, Value::of(*format.precision), {});
  const std::int64_t space = format.width - shown.string->length;
  if (space <= 0) return shown;
  const std::int64_t left = format.align == '>' || format.align == '=' ? space
                            : format.align == '^'                      ? space / 2
                                                                       : 0;
  TextBuilder out(runtime);
  out.append_repeated(format.fill, left);
  out.append(shown.text());
  out.append_repeated(format.fill, space - left);
  return out.finish();
}

}  // namespace tenon::jinja
