// The outer lexer: text, comments, raw blocks and tags, and the white space around them.
// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/lexer.h"

#include <algorithm>
#include <utility>

#include "text/jinja/unicode.h"

namespace tenon::jinja {

void Lexer::fail_here(std::string_view message) const {
  fail_at(site_, ErrorCode::kCorrupt, "{}", message);
}

void Lexer::advance(std::size_t count) {
  const std::string_view passed = rest().substr(0, count);
  site_.line += static_cast<int>(std::count(passed.begin(), passed.end(), '\n'));
  line_starting_ = !passed.empty() && passed.back() == '\n';
  position_ += count;
}

void Lexer::emit(TokenKind kind, std::string text) {
  Token token;
  token.kind = kind;
  token.line = site_.line;
  token.text = std::move(text);
  tokens_.push_back(std::move(token));
}

std::size_t Lexer::space_length(std::size_t offset) const {
  const std::string_view text = rest().substr(offset);
  return text.size() - strip_space(text, Side::kLeft).size();
}

/// Emits the text before a tag whose sign is '-', '+' or 0, stripped as the sign and
/// lstrip_blocks ask.
void Lexer::emit_data(std::string_view text, char sign, bool is_variable) {
  if (sign == '-') {
    text = strip_space(text, Side::kRight);
  } else if (sign != '+' && !is_variable) {
    const std::size_t newline = text.rfind('\n');
    const std::size_t line = newline == std::string_view::npos ? 0 : newline + 1;
    if ((line > 0 || line_starting_) && strip_space(text.substr(line), Side::kLeft).empty())
      text = text.substr(0, line);
  }
  if (!text.empty()) emit(TokenKind::kData, std::string(text));
}

/// Length of what ends a block or comment at `offset` ("%}" with its sign and the white space
/// it takes along), 0 where nothing ends.
std::size_t Lexer::end_length(std::size_t offset, std::string_view close) const {
  const std::string_view text = rest().substr(offset);
  const bool signed_end = !text.empty() && (text[0] == '-' || text[0] == '+');
  if (signed_end && text.substr(1).starts_with(close)) {
    const std::size_t length = 1 + close.size();
    return text[0] == '-' ? length + space_length(offset + length) : length;
  }
  if (!text.starts_with(close)) return 0;
  const bool newline = close != "}}" && text.substr(close.size()).starts_with('\n');
  return close.size() + (newline ? 1 : 0);
}

void Lexer::skip_comment() {
  const std::size_t close = rest().find("#}");
  if (close == std::string_view::npos) fail_here("expected '#}' to end a comment, got the end");
  const std::size_t signed_close =
      close > 0 && (rest()[close - 1] == '-' || rest()[close - 1] == '+') ? close - 1 : close;
  advance(signed_close + end_length(signed_close, "#}"));
}

/// Length of "raw %}" behind an opened block, 0 where it is another block.
std::size_t Lexer::raw_begin_length() const {
  std::size_t offset = space_length(0);
  if (!rest().substr(offset).starts_with("raw")) return 0;
  offset += 3;
  offset += space_length(offset);
  const std::string_view text = rest().substr(offset);
  if (text.starts_with("-%}")) return offset + 3 + space_length(offset + 3);
  return text.starts_with("%}") ? offset + 2 : 0;
}

void Lexer::read_raw() {
  for (std::size_t open = rest().find("{%"); open != std::string_view::npos;
       open = rest().find("{%", open + 1)) {
    std::size_t offset = open + 2;
    char sign = 0;
    if (offset < rest().size() && (rest()[offset] == '-' || rest()[offset] == '+'))
      sign = rest()[offset++];
    offset += space_length(offset);
    if (!rest().substr(offset).starts_with("endraw")) continue;
    offset += 6;
    offset += space_length(offset);
    const std::size_t end = end_length(offset, "%}");
    if (end == 0) continue;
    emit_data(rest().substr(0, open), sign, false);
    advance(offset + end);
    return;
  }
  fail_here("expected '{% endraw %}', got the end of the template");
}

/// Text up to the next tag and what opens it; false at the end of the template.
bool Lexer::read_outside() {
  std::size_t open = 0;
  for (;; ++open) {
    open = rest().find('{', open);
    if (open == std::string_view::npos || open + 1 >= rest().size()) {
      if (!rest().empty()) emit(TokenKind::kData, std::string(rest()));
      advance(rest().size());
      return false;
    }
    const char next = rest()[open + 1];
    if (next == '%' || next == '{' || next == '#') break;
  }
  const char type = rest()[open + 1];
  std::size_t after = open + 2;
  char sign = 0;
  if (after < rest().size() && (rest()[after] == '-' || rest()[after] == '+'))
    sign = rest()[after++];
  emit_data(rest().substr(0, open), sign, type == '{');
  advance(after);
  if (type == '#') {
    skip_comment();
  } else if (const std::size_t raw = type == '%' ? raw_begin_length() : 0; raw > 0) {
    advance(raw);
    read_raw();
  } else {
    read_tag(type == '%');
  }
  return true;
}

std::vector<Token> Lexer::run() {
  while (!rest().empty() && read_outside()) {
  }
  emit(TokenKind::kEnd, {});
  return std::move(tokens_);
}

std::vector<Token> tokenize(std::string_view source, std::string_view where) {
  // Every kind of line break counts as one newline; the last one of the template is dropped.
  std::string lines;
  lines.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    const bool carriage = source[i] == '\r';
    if (carriage && i + 1 < source.size() && source[i + 1] == '\n') continue;
    lines += carriage ? '\n' : source[i];
  }
  if (lines.ends_with('\n')) lines.pop_back();
  return Lexer(lines, where).run();
}

}  // namespace tenon::jinja
