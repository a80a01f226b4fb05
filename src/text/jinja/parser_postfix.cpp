// What follows a value: members, subscripts, calls, filters and tests.
// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "text/jinja/parser.h"

namespace tenon::jinja {
namespace {

std::vector<ExprPtr> single(ExprPtr part) {
  std::vector<ExprPtr> parts;
  parts.push_back(std::move(part));
  return parts;
}

}  // namespace

ExprPtr Parser::parse_postfix(ExprPtr node) {
  for (;;) {
    if (current().is_operator(".") || current().is_operator("[")) {
      node = parse_subscript(std::move(node));
    } else if (current().is_operator("(")) {
      node = parse_call(std::move(node));
    } else {
      return node;
    }
  }
}

ExprPtr Parser::parse_filters_and_tests(ExprPtr node) {
  for (;;) {
    if (current().is_operator("|")) {
      node = parse_filter(std::move(node), false);
    } else if (current().is_name("is")) {
      node = parse_test(std::move(node));
    } else if (current().is_operator("(")) {
      node = parse_call(std::move(node));
    } else {
      return node;
    }
  }
}

ExprPtr Parser::parse_subscript(ExprPtr object) {
  const Token open = next();
  if (open.text == "[") return parse_subscribed(std::move(object));
  const Token name = next();
  if (name.kind == TokenKind::kName) {
    ExprPtr node = make(ExprKind::kMember, open.line, single(std::move(object)));
    node->name = name.text;
    return node;
  }
  if (name.kind != TokenKind::kInteger)
    fail_line(name.line,
              fmt::format("expected a name or a number after '.', got {}", describe(name)));
  ExprPtr index = make(ExprKind::kConst, name.line);
  index->literal = Value::of(name.integer);
  std::vector<ExprPtr> parts = single(std::move(object));
  parts.push_back(std::move(index));
  return make(ExprKind::kItem, open.line, std::move(parts));
}

/// What stands between brackets: an index, several (a tuple), or a slice.
ExprPtr Parser::parse_subscribed(ExprPtr object) {
  const int line = current().line;
  std::vector<ExprPtr> parts = single(std::move(object));
  if (!current().is_operator(":")) parts.push_back(parse_expression());
  if (!current().is_operator(":")) {
    if (current().is_operator(",")) {
      std::vector<ExprPtr> items = single(std::move(parts.back()));
      while (skip_operator(",")) items.push_back(parse_expression());
      parts.back() = make(ExprKind::kTuple, line, std::move(items));
    }
    expect_operator("]");
    return make(ExprKind::kItem, line, std::move(parts));
  }
  if (parts.size() == 1) parts.push_back(nullptr);
  while (parts.size() < 4 && skip_operator(":")) {
    const bool empty = current().is_operator(":") || current().is_operator("]");
    parts.push_back(empty ? nullptr : parse_expression());
  }
  parts.resize(4);
  expect_operator("]");
  return make(ExprKind::kSlice, line, std::move(parts));
}

std::unique_ptr<Arguments> Parser::parse_arguments() {
  const int line = current().line;
  expect_operator("(");
  auto arguments = std::make_unique<Arguments>();
  const auto ensure = [&](bool condition) {
    if (!condition)
      fail_line(line, "arguments of a call: expected positional, named, *, ** in turn");
  };
  for (bool first = true; !skip_operator(")"); first = false) {
    if (!first) {
      expect_operator(",");
      if (skip_operator(")")) break;
    }
    if (skip_operator("*")) {
      ensure(arguments->star == nullptr && arguments->star_star == nullptr);
      arguments->star = parse_expression();
    } else if (skip_operator("**")) {
      ensure(arguments->star_star == nullptr);
      arguments->star_star = parse_expression();
    } else if (current().kind == TokenKind::kName && look().is_operator("=")) {
      ensure(arguments->star_star == nullptr);
      std::string name = next().text;
      next();
      for (const auto& [other, value] : arguments->named)
        if (other == name) fail_line(line, fmt::format("argument '{}' is given twice", name));
      arguments->named.emplace_back(std::move(name), parse_expression());
    } else {
      ensure(arguments->star == nullptr && arguments->star_star == nullptr &&
             arguments->named.empty());
      arguments->positional.push_back(parse_expression());
    }
  }
  return arguments;
}

ExprPtr Parser::parse_call(ExprPtr callee) {
  const int line = current().line;
  auto arguments = parse_arguments();
  ExprPtr node = make(ExprKind::kCall, line, single(std::move(callee)));
  node->arguments = std::move(arguments);
  check_height(*node);
  return node;
}

/// One filter or a chain of them; `inline_start` where the first has no bar (filter blocks).
ExprPtr Parser::parse_filter(ExprPtr node, bool inline_start) {
  while (inline_start || skip_operator("|")) {
    inline_start = false;
    const Token token = expect(TokenKind::kName, "a filter's name");
    std::string name = token.text;
    while (skip_operator(".")) name += "." + expect(TokenKind::kName, "a filter's name").text;
    if (!is_known_filter(name) && conditionals_ == 0)
      fail_line(token.line, fmt::format("expected a known filter, got '{}'", name));
    ExprPtr filter = make(ExprKind::kFilter, token.line, single(std::move(node)));
    filter->name = std::move(name);
    filter->arguments =
        current().is_operator("(") ? parse_arguments() : std::make_unique<Arguments>();
    check_height(*filter);
    node = std::move(filter);
  }
  return node;
}

ExprPtr Parser::parse_test(ExprPtr node) {
  const int line = next().line;
  const bool negated = skip_name("not");
  const Token token = expect(TokenKind::kName, "a test's name");
  std::string name = token.text;
  while (skip_operator(".")) name += "." + expect(TokenKind::kName, "a test's name").text;
  if (!is_known_test(name) && conditionals_ == 0)
    fail_line(token.line, fmt::format("expected a known test, got '{}'", name));
  auto arguments = std::make_unique<Arguments>();
  const Token& after = current();
  const bool value_follows = (after.kind == TokenKind::kName && !after.is_name("else") &&
                              !after.is_name("or") && !after.is_name("and")) ||
                             after.kind == TokenKind::kString ||
                             after.kind == TokenKind::kInteger || after.kind == TokenKind::kFloat ||
                             after.is_operator("[") || after.is_operator("{");
  if (after.is_operator("(")) {
    arguments = parse_arguments();
  } else if (value_follows) {
    if (after.is_name("is")) fail_line(after.line, "tests cannot be chained with 'is'");
    arguments->positional.push_back(parse_postfix(parse_primary()));
  }
  ExprPtr test = make(ExprKind::kTest, line, single(std::move(node)));
  test->name = std::move(name);
  test->arguments = std::move(arguments);
  check_height(*test);
  return negated ? make(ExprKind::kNot, line, single(std::move(test))) : std::move(test);
}

}  // namespace tenon::jinja
