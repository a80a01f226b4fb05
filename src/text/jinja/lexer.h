// The lexer's state, shared by its two halves: outside of tags (lexer.cpp), inside (lexer_tag.cpp).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/site.h"
#include "text/jinja/token.h"

namespace tenon::jinja {

class Lexer {
 public:
  Lexer(std::string_view source, std::string_view where) : source_(source), site_{where, 1} {}
  std::vector<Token> run();

 private:
  std::string_view rest() const { return source_.substr(position_); }
  [[noreturn]] void fail_here(std::string_view message) const;
  void advance(std::size_t count);
  void emit(TokenKind kind, std::string text);
  std::size_t space_length(std::size_t offset) const;
  std::size_t end_length(std::size_t offset, std::string_view close) const;

  bool read_outside();
  void emit_data(std::string_view text, char sign, bool is_variable);
  void skip_comment();
  std::size_t raw_begin_length() const;
  void read_raw();

  void read_tag(bool is_block);
  bool read_number();
  bool read_name();
  bool read_string();
  void read_operator();

  std::string_view source_;
  Site site_;
  std::size_t position_ = 0;
  bool line_starting_ = true;  ///< the last thing read ended with a newline
  std::string brackets_;       ///< closers that are still owed inside a tag
  std::vector<Token> tokens_;
};

/// Replaces the escapes of a string literal's body as Python does. Returns false and sets
/// `problem` where one is cut short or unknown to us.
bool unescape(std::string_view body, std::string& out, std::string& problem);

}  // namespace tenon::jinja
