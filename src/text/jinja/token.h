// Tokens of a template and the lexer's one function.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tenon::jinja {

enum class TokenKind : std::uint8_t {
  kData,
  kBlockBegin,
  kBlockEnd,
  kVariableBegin,
  kVariableEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  int line = 1;
  std::string text;  ///< data, name, operator; a string with its escapes replaced
  std::int64_t integer = 0;
  double real = 0;

  bool is_operator(std::string_view op) const { return kind == TokenKind::kOperator && text == op; }
  bool is_name(std::string_view name) const { return kind == TokenKind::kName && text == name; }
};

/// How an error message calls the token.
std::string describe(const Token& token);

/// Splits a template as jinja2 does with trim_blocks and lstrip_blocks on and line statements
/// off. Ends with a kEnd token. Throws Error{kCorrupt} naming `where` and the line.
std::vector<Token> tokenize(std::string_view source, std::string_view where);

}  // namespace tenon::jinja
