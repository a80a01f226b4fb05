// Escapes of string literals.
// SPDX-License-Identifier: Apache-2.0
#include <charconv>

#include "core/utf8.h"
#include "text/jinja/lexer.h"

namespace tenon::jinja {
namespace {

char simple_escape(char c) {
  switch (c) {
    case '\\': return '\\';
    case '\'': return '\'';
    case '"': return '"';
    case 'a': return '\a';
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'v': return '\v';
    default: return 0;
  }
}

/// Reads exactly `count` hexadecimal digits.
bool read_hex(std::string_view text, std::size_t count, std::uint32_t& value) {
  if (text.size() < count) return false;
  const auto result = std::from_chars(text.data(), text.data() + count, value, 16);
  return result.ec == std::errc() && result.ptr == text.data() + count;
}

/// Length of the octal digits, at most three, and their value.
std::size_t read_octal(std::string_view text, std::uint32_t& value) {
  std::size_t length = 0;
  while (length < 3 && length < text.size() && text[length] >= '0' && text[length] <= '7')
    value = value * 8 + static_cast<std::uint32_t>(text[length++] - '0');
  return length;
}

}  // namespace

bool unescape(std::string_view body, std::string& out, std::string& problem) {
  for (std::size_t i = 0; i < body.size();) {
    if (body[i] != '\\' || i + 1 == body.size()) {
      out += body[i++];
      continue;
    }
    const char kind = body[i + 1];
    const std::string_view after = body.substr(i + 2);
    std::uint32_t value = 0;
    if (const char simple = simple_escape(kind); simple != 0) {
      out += simple;
      i += 2;
    } else if (kind == '\n') {
      i += 2;
    } else if (kind == 'x' || kind == 'u' || kind == 'U') {
      const std::size_t digits = kind == 'x' ? 2 : kind == 'u' ? 4 : 8;
      if (!read_hex(after, digits, value) || value > 0x10FFFF) {
        problem =
            fmt::format("expected {} hexadecimal digits of a character after \\{}", digits, kind);
        return false;
      }
      utf8::append(out, value);
      i += 2 + digits;
    } else if (kind == 'N') {
      problem = "characters by name (\\N{...}) are not supported; write \\u and digits";
      return false;
    } else if (const std::size_t octal = read_octal(body.substr(i + 1), value); octal > 0) {
      utf8::append(out, value);
      i += 1 + octal;
    } else {  // an unknown escape stays as it is, backslash and all
      out += body[i++];
    }
  }
  return true;
}

}  // namespace tenon::jinja
