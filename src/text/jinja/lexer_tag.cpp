// The inner lexer: names, literals and operators between the braces of a tag.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>

#include "core/utf8.h"
#include "text/jinja/lexer.h"
#include "text/jinja/unicode.h"

namespace tenon::jinja {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

int digit_value(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return 99;
}

/// Length of digits of `base`, single underscores between them allowed.
std::size_t digits_length(std::string_view text, int base) {
  std::size_t i = 0;
  while (i < text.size()) {
    const std::size_t digit = text[i] == '_' && i > 0 ? i + 1 : i;
    if (digit >= text.size() || digit_value(text[digit]) >= base) break;
    i = digit + 1;
  }
  return i;
}

/// Length of a float literal at the start of `text`, 0 where there is none.
std::size_t float_length(std::string_view text) {
  std::size_t length = digits_length(text, 10);
  if (length == 0) return 0;
  bool is_float = false;
  if (length < text.size() && text[length] == '.') {
    const std::size_t fraction = digits_length(text.substr(length + 1), 10);
    if (fraction > 0) {
      is_float = true;
      length += 1 + fraction;
    }
  }
  if (length < text.size() && (text[length] == 'e' || text[length] == 'E')) {
    std::size_t sign = length + 1;
    if (sign < text.size() && (text[sign] == '+' || text[sign] == '-')) ++sign;
    const std::size_t exponent = sign < text.size() ? digits_length(text.substr(sign), 10) : 0;
    if (exponent > 0) return sign + exponent;
  }
  return is_float ? length : 0;
}

/// Length of an integer literal; sets its base.
std::size_t integer_length(std::string_view text, int& base) {
  base = 10;
  if (text.size() > 2 && text[0] == '0') {
    const char mark = static_cast<char>(text[1] | 0x20);
    base = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 10;
    if (base != 10) {
      const std::size_t skip = text[2] == '_' ? 3 : 2;
      const std::size_t digits = digits_length(text.substr(skip), base);
      if (digits > 0) return skip + digits;
      base = 10;
    }
  }
  if (text[0] != '0') return digits_length(text, 10);
  std::size_t zeros = 1;  // 0 and 000 are integers, 012 is 0 followed by 12
  while (zeros < text.size() && (text[zeros] == '0' || text[zeros] == '_')) ++zeros;
  while (text[zeros - 1] == '_') --zeros;
  return zeros;
}

std::string without_underscores(std::string_view text) {
  std::string out(text);
  out.erase(std::remove(out.begin(), out.end(), '_'), out.end());
  return out;
}

constexpr std::array<std::string_view, 27> kOperators{
    "**", "//", "==", "!=", ">=", "<=", "+", "-", "*", "/", "%", "~", "[",
    "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";",
};

}  // namespace

bool Lexer::read_number() {
  const std::string_view text = rest();
  if (!is_digit(text[0])) return false;
  Token token;
  token.line = site_.line;
  const bool after_dot = position_ > 0 && source_[position_ - 1] == '.';
  std::size_t length = after_dot ? 0 : float_length(text);
  if (length > 0) {
    token.kind = TokenKind::kFloat;
    token.text = without_underscores(text.substr(0, length));
    token.real = std::strtod(token.text.c_str(), nullptr);
  } else {
    int base = 10;
    length = integer_length(text, base);
    token.kind = TokenKind::kInteger;
    token.text = without_underscores(text.substr(0, length));
    const char* begin = token.text.data() + (base == 10 ? 0 : 2);
    const char* end = token.text.data() + token.text.size();
    if (std::from_chars(begin, end, token.integer, base).ec != std::errc())
      fail_here(fmt::format("expected an integer of 64 bits, got '{}'", token.text.substr(0, 80)));
  }
  tokens_.push_back(std::move(token));
  advance(length);
  return true;
}

bool Lexer::read_name() {
  std::size_t length = 0;
  while (length < rest().size()) {
    const utf8::Decoded c = utf8::decode(rest().substr(length));
    const bool continues = c.code_point == '_' || (c.valid && is_letter(c.code_point)) ||
                           (length > 0 && c.valid && is_alnum(c.code_point));
    if (!continues) break;
    length += static_cast<std::size_t>(c.length);
  }
  if (length == 0) return false;
  emit(TokenKind::kName, std::string(rest().substr(0, length)));
  advance(length);
  return true;
}

bool Lexer::read_string() {
  const char quote = rest()[0];
  if (quote != '\'' && quote != '"') return false;
  std::size_t close = 1;
  while (close < rest().size() && rest()[close] != quote) close += rest()[close] == '\\' ? 2 : 1;
  if (close >= rest().size()) fail_here("expected a closing quote, got the end of the template");
  std::string value;
  std::string problem;
  if (!unescape(rest().substr(1, close - 1), value, problem)) fail_here(problem);
  emit(TokenKind::kString, std::move(value));
  advance(close + 1);
  return true;
}

void Lexer::read_operator() {
  const std::string_view text = rest();
  const auto* found = std::find_if(kOperators.begin(), kOperators.end(),
                                   [&](auto op) { return !op.empty() && text.starts_with(op); });
  if (found == kOperators.end())
    fail_here(fmt::format("unexpected character '{}'", text.substr(0, first_length(text))));
  const char c = text[0];
  if (c == '{' || c == '(' || c == '[') {
    brackets_ += c == '{' ? '}' : c == '(' ? ')' : ']';
  } else if (c == '}' || c == ')' || c == ']') {
    if (brackets_.empty()) fail_here(fmt::format("unexpected '{}'", c));
    if (brackets_.back() != c)
      fail_here(fmt::format("expected '{}', got '{}'", brackets_.back(), c));
    brackets_.pop_back();
  }
  emit(TokenKind::kOperator, std::string(*found));
  advance(found->size());
}

void Lexer::read_tag(bool is_block) {
  emit(is_block ? TokenKind::kBlockBegin : TokenKind::kVariableBegin, {});
  brackets_.clear();
  while (!rest().empty()) {
    if (brackets_.empty()) {
      // A variable ends with "-}}" or "}}": a plus before it is an operator.
      const bool plus = !is_block && rest()[0] == '+';
      const std::size_t end = plus ? 0 : end_length(0, is_block ? "%}" : "}}");
      if (end > 0) {
        emit(is_block ? TokenKind::kBlockEnd : TokenKind::kVariableEnd, {});
        advance(end);
        return;
      }
    }
    if (const std::size_t space = space_length(0); space > 0) {
      advance(space);
    } else if (!read_number() && !read_name() && !read_string()) {
      read_operator();
    }
  }
}

std::string describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kData: return "template text";
    case TokenKind::kBlockBegin: return "'{%'";
    case TokenKind::kBlockEnd: return "'%}'";
    case TokenKind::kVariableBegin: return "'{{'";
    case TokenKind::kVariableEnd: return "'}}'";
    case TokenKind::kString: return "a string";
    case TokenKind::kInteger:
    case TokenKind::kFloat:
    case TokenKind::kName:
    case TokenKind::kOperator: return "'" + token.text.substr(0, 80) + "'";
    case TokenKind::kEnd: return "the end of the template";
  }
  return {};
}

}  // namespace tenon::jinja
