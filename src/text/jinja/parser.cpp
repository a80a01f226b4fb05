// Statements.
// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/parser.h"

#include <algorithm>
#include <array>

#include "text/jinja/limits.h"

namespace tenon::jinja {

Parser::Nest::Nest(Parser& parser) : parser_(parser) {
  if (++parser_.depth_ > kMaxSyntaxDepth) {
    --parser_.depth_;
    parser_.fail_line(parser_.current().line,
                      fmt::format("blocks or expressions nest more than {} deep", kMaxSyntaxDepth));
  }
}

void Parser::fail_line(int line, std::string_view message) const {
  fail_at(Site{where_, line}, ErrorCode::kCorrupt, "{}", message);
}

void Parser::fail_expected(std::string_view what) const {
  fail_line(current().line, fmt::format("expected {}, got {}", what, describe(current())));
}

Token Parser::next() {
  Token token = current();
  if (token.kind != TokenKind::kEnd) ++position_;
  return token;
}

bool Parser::skip_name(std::string_view name) {
  if (!current().is_name(name)) return false;
  ++position_;
  return true;
}

bool Parser::skip_operator(std::string_view op) {
  if (!current().is_operator(op)) return false;
  ++position_;
  return true;
}

Token Parser::expect(TokenKind kind, std::string_view what) {
  if (current().kind != kind) fail_expected(what);
  return next();
}

void Parser::expect_operator(std::string_view op) {
  if (!skip_operator(op)) fail_expected(fmt::format("'{}'", op));
}

Body Parser::parse() {
  Body body = parse_until({});
  if (current().kind != TokenKind::kEnd) fail_expected("the end of the template");
  return body;
}

/// Statements up to a block that starts with one of `ends` (left as the current token), or to
/// the end of the template where `ends` is empty.
Body Parser::parse_until(EndNames ends) {
  Body body;
  for (;;) {
    const Token& token = current();
    if (token.kind == TokenKind::kEnd) {
      if (ends.size() == 0) return body;
      fail_expected(fmt::format("'{{% {} %}}'", *(ends.end() - 1)));
    }
    if (token.kind == TokenKind::kData) {
      Stmt text;
      text.line = token.line;
      text.text = next().text;
      body.push_back(std::move(text));
    } else if (token.kind == TokenKind::kVariableBegin) {
      body.push_back(parse_output());
    } else {
      expect(TokenKind::kBlockBegin, "'{%'");
      const bool ended =
          std::any_of(ends.begin(), ends.end(), [&](auto name) { return current().is_name(name); });
      if (ended) return body;
      body.push_back(parse_statement());
      expect(TokenKind::kBlockEnd, "'%}'");
    }
  }
}

Body Parser::parse_block_body(EndNames ends) {
  const Nest nest(*this);
  skip_operator(":");
  expect(TokenKind::kBlockEnd, "'%}'");
  return parse_until(ends);
}

Stmt Parser::parse_output() {
  Stmt stmt;
  stmt.kind = StmtKind::kOutput;
  stmt.line = next().line;
  stmt.values.push_back(parse_full_tuple(true));
  expect(TokenKind::kVariableEnd, "'}}'");
  return stmt;
}

Stmt Parser::parse_statement() {
  struct Row {
    std::string_view name;
    Stmt (Parser::*parse)();
  };
  static constexpr std::array<Row, 11> kRows{{
      {"if", &Parser::parse_if},
      {"for", &Parser::parse_for},
      {"set", &Parser::parse_set},
      {"macro", &Parser::parse_macro},
      {"call", &Parser::parse_call_block},
      {"filter", &Parser::parse_filter_block},
      {"with", &Parser::parse_with},
      {"generation", &Parser::parse_generation},
      {"break", &Parser::parse_loop_control},
      {"continue", &Parser::parse_loop_control},
      {"print", &Parser::parse_print},
  }};
  static constexpr std::array<std::string_view, 6> kUnsupported{"extends", "include", "import",
                                                                "from",    "block",   "autoescape"};
  if (current().kind != TokenKind::kName) fail_expected("a tag's name");
  const std::string& name = current().text;
  for (const Row& row : kRows)
    if (row.name == name) return (this->*row.parse)();
  if (std::find(kUnsupported.begin(), kUnsupported.end(), name) != kUnsupported.end())
    fail_at(Site{where_, current().line}, ErrorCode::kUnsupported,
            "the tag '{}' is not supported in chat templates", name);
  fail_expected("a known tag (if, for, set, macro, call, filter, with, generation, raw, …)");
}

/// print was a statement of old Jinja; it remains in the grammar.
Stmt Parser::parse_print() {
  Stmt stmt;
  stmt.kind = StmtKind::kOutput;
  stmt.line = next().line;
  while (current().kind != TokenKind::kBlockEnd) {
    if (!stmt.values.empty()) expect_operator(",");
    stmt.values.push_back(parse_expression());
  }
  return stmt;
}

Stmt Parser::parse_set() {
  Stmt stmt;
  stmt.kind = StmtKind::kSet;
  stmt.line = next().line;
  stmt.target = parse_target(true);
  if (skip_operator("=")) {
    stmt.value = parse_full_tuple(true);
    return stmt;
  }
  stmt.kind = StmtKind::kSetBlock;
  stmt.value = parse_filter(nullptr, false);
  stmt.body = parse_block_body({"endset"});
  next();
  return stmt;
}

Stmt Parser::parse_for() {
  Stmt stmt;
  stmt.kind = StmtKind::kFor;
  stmt.line = next().line;
  ++loops_;  // already while the target is parsed: it cannot be called `loop` either
  stmt.target = parse_target(false, "in");
  --loops_;
  if (!skip_name("in")) fail_expected("'in'");
  stmt.value = parse_full_tuple(false, "recursive");
  if (skip_name("if")) stmt.test = parse_expression();
  stmt.recursive = skip_name("recursive");
  ++loops_;
  loop_uses_.push_back(&stmt.uses_loop);
  stmt.body = parse_block_body({"else", "endfor"});
  loop_uses_.pop_back();
  --loops_;
  if (next().text == "else") {
    stmt.else_body = parse_block_body({"endfor"});
    next();
  }
  return stmt;
}

Stmt Parser::parse_if() {
  Stmt stmt;
  stmt.kind = StmtKind::kIf;
  stmt.line = current().line;
  ++conditionals_;
  for (;;) {
    const bool is_else = next().text == "else";
    Branch branch;
    if (!is_else) {
      --conditionals_;
      branch.test = parse_full_tuple(false);
      ++conditionals_;
    }
    branch.body =
        is_else ? parse_block_body({"endif"}) : parse_block_body({"elif", "else", "endif"});
    stmt.branches.push_back(std::move(branch));
    if (skip_name("endif")) break;
  }
  --conditionals_;
  return stmt;
}

Stmt Parser::parse_with() {
  Stmt stmt;
  stmt.kind = StmtKind::kWith;
  stmt.line = next().line;
  while (current().kind != TokenKind::kBlockEnd) {
    if (!stmt.targets.empty()) expect_operator(",");
    stmt.targets.push_back(parse_target(false));
    expect_operator("=");
    stmt.values.push_back(parse_expression());
  }
  stmt.body = parse_block_body({"endwith"});
  next();
  return stmt;
}

void Parser::parse_parameters(Signature& signature) {
  expect_operator("(");
  while (!skip_operator(")")) {
    if (!signature.parameters.empty()) expect_operator(",");
    const Token name = expect(TokenKind::kName, "a parameter's name");
    if (skip_operator("=")) {
      signature.defaults.push_back(parse_expression());
    } else if (!signature.defaults.empty()) {
      fail_line(name.line,
                fmt::format("parameter '{}' has no default but follows one that has", name.text));
    }
    if (std::find(signature.parameters.begin(), signature.parameters.end(), name.text) !=
        signature.parameters.end())
      fail_line(name.line, fmt::format("parameter '{}' is named twice", name.text));
    signature.parameters.push_back(name.text);
  }
}

/// The body, noting which of caller, kwargs and varargs it reads. Loops outside do not count.
Body Parser::parse_macro_body(Signature& signature, EndNames ends) {
  macros_.push_back(&signature);
  const int loops = std::exchange(loops_, 0);
  Body body = parse_block_body(ends);
  loops_ = loops;
  macros_.pop_back();
  next();
  return body;
}

Stmt Parser::parse_macro() {
  Stmt stmt;
  stmt.kind = StmtKind::kMacro;
  stmt.line = next().line;
  stmt.signature = std::make_unique<Signature>();
  stmt.signature->name = expect(TokenKind::kName, "the macro's name").text;
  parse_parameters(*stmt.signature);
  stmt.body = parse_macro_body(*stmt.signature, {"endmacro"});
  return stmt;
}

Stmt Parser::parse_call_block() {
  Stmt stmt;
  stmt.kind = StmtKind::kCallBlock;
  stmt.line = next().line;
  stmt.signature = std::make_unique<Signature>();
  if (current().is_operator("(")) parse_parameters(*stmt.signature);
  stmt.value = parse_expression();
  if (stmt.value->kind != ExprKind::kCall) fail_line(stmt.line, "expected a call after 'call'");
  stmt.body = parse_macro_body(*stmt.signature, {"endcall"});
  return stmt;
}

Stmt Parser::parse_generation() {
  Stmt stmt;
  stmt.kind = StmtKind::kScope;
  stmt.line = next().line;
  Signature unused;
  stmt.body = parse_macro_body(unused, {"endgeneration"});
  return stmt;
}

Stmt Parser::parse_filter_block() {
  Stmt stmt;
  stmt.kind = StmtKind::kFilterBlock;
  stmt.line = next().line;
  stmt.value = parse_filter(nullptr, true);
  stmt.body = parse_block_body({"endfilter"});
  next();
  return stmt;
}

Stmt Parser::parse_loop_control() {
  Stmt stmt;
  stmt.kind = current().is_name("break") ? StmtKind::kBreak : StmtKind::kContinue;
  if (loops_ == 0) fail_expected("a loop around this tag");
  stmt.line = next().line;
  return stmt;
}

void Parser::check_target(const Expr& target) const {
  if (target.kind == ExprKind::kTuple) {
    for (const ExprPtr& part : target.parts) check_target(*part);
    return;
  }
  if (target.kind != ExprKind::kName && target.kind != ExprKind::kNamespaceRef)
    fail_line(target.line, "expected a name to assign to");
  if (target.kind == ExprKind::kName && target.name == "loop" && loops_ > 0)
    fail_line(target.line, "'loop' is the loop's own variable and cannot be assigned");
}

ExprPtr Parser::parse_target(bool with_namespace, std::string_view end_name) {
  ExprPtr target = parse_tuple([&] { return parse_primary(with_namespace); }, false, end_name);
  check_target(*target);
  return target;
}

}  // namespace tenon::jinja
