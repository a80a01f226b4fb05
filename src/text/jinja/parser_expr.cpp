// Expressions, with jinja2's precedence: or, and, not, comparisons, + -, ~, * / // %, **, unary.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <utility>

#include "text/jinja/limits.h"
#include "text/jinja/parser.h"
#include "text/jinja/unicode.h"

namespace tenon::jinja {
namespace {

struct OperatorRow {
  std::string_view text;
  Op op;
};
constexpr std::array<OperatorRow, 2> kSums{{{"+", Op::kAdd}, {"-", Op::kSubtract}}};
constexpr std::array<OperatorRow, 4> kProducts{
    {{"*", Op::kMultiply}, {"/", Op::kDivide}, {"//", Op::kFloorDivide}, {"%", Op::kModulo}}};
constexpr std::array<OperatorRow, 6> kComparisons{{{"==", Op::kEqual},
                                                   {"!=", Op::kNotEqual},
                                                   {"<", Op::kLess},
                                                   {"<=", Op::kLessEqual},
                                                   {">", Op::kGreater},
                                                   {">=", Op::kGreaterEqual}}};

template <std::size_t N>
const OperatorRow* find_operator(const std::array<OperatorRow, N>& rows, const Token& token) {
  if (token.kind != TokenKind::kOperator) return nullptr;
  const auto* row = std::find_if(rows.begin(), rows.end(),
                                 [&](const OperatorRow& r) { return r.text == token.text; });
  return row == rows.end() ? nullptr : row;
}

std::vector<ExprPtr> parts_of(ExprPtr first, ExprPtr second = nullptr) {
  std::vector<ExprPtr> parts;
  parts.push_back(std::move(first));
  if (second != nullptr) parts.push_back(std::move(second));
  return parts;
}

}  // namespace

void Parser::check_height(Expr& node) const {
  int below = 0;
  const auto see = [&](const ExprPtr& part) {
    if (part != nullptr) below = std::max(below, part->height);
  };
  for (const ExprPtr& part : node.parts) see(part);
  if (node.arguments != nullptr) {
    for (const ExprPtr& part : node.arguments->positional) see(part);
    for (const auto& [name, part] : node.arguments->named) see(part);
    see(node.arguments->star);
    see(node.arguments->star_star);
  }
  node.height = below + 1;
  if (node.height > kMaxSyntaxDepth)
    fail_line(node.line, fmt::format("an expression nests more than {} deep", kMaxSyntaxDepth));
}

ExprPtr Parser::make(ExprKind kind, int line, std::vector<ExprPtr> parts) const {
  auto node = std::make_unique<Expr>();
  node->kind = kind;
  node->line = line;
  node->parts = std::move(parts);
  check_height(*node);
  return node;
}

ExprPtr Parser::make_binary(ExprKind kind, Op op, ExprPtr left, ExprPtr right) const {
  const int line = left->line;
  ExprPtr node = make(kind, line, parts_of(std::move(left), std::move(right)));
  node->op = op;
  return node;
}

ExprPtr Parser::parse_condition() {
  const Nest nest(*this);
  ExprPtr value = parse_or();
  while (skip_name("if")) {
    ++conditionals_;
    const int line = value->line;
    std::vector<ExprPtr> parts = parts_of(std::move(value), parse_or());
    parts.push_back(skip_name("else") ? parse_condition() : nullptr);
    --conditionals_;
    value = make(ExprKind::kCondition, line, std::move(parts));
  }
  return value;
}

ExprPtr Parser::parse_or() {
  ExprPtr left = parse_and();
  while (skip_name("or")) left = make_binary(ExprKind::kOr, Op::kAdd, std::move(left), parse_and());
  return left;
}

ExprPtr Parser::parse_and() {
  ExprPtr left = parse_not();
  while (skip_name("and"))
    left = make_binary(ExprKind::kAnd, Op::kAdd, std::move(left), parse_not());
  return left;
}

ExprPtr Parser::parse_not() {
  if (!current().is_name("not")) return parse_compare();
  const Nest nest(*this);
  const int line = next().line;
  return make(ExprKind::kNot, line, parts_of(parse_not()));
}

ExprPtr Parser::parse_compare() {
  ExprPtr first = parse_sum();
  const int line = first->line;
  std::vector<ExprPtr> parts = parts_of(std::move(first));
  std::vector<Op> ops;
  for (;;) {
    if (const OperatorRow* row = find_operator(kComparisons, current()); row != nullptr) {
      next();
      ops.push_back(row->op);
    } else if (skip_name("in")) {
      ops.push_back(Op::kIn);
    } else if (current().is_name("not") && look().is_name("in")) {
      next();
      next();
      ops.push_back(Op::kNotIn);
    } else {
      break;
    }
    parts.push_back(parse_sum());
  }
  if (ops.empty()) return std::move(parts[0]);
  ExprPtr node = make(ExprKind::kCompare, line, std::move(parts));
  node->ops = std::move(ops);
  return node;
}

ExprPtr Parser::parse_sum() {
  ExprPtr left = parse_concat();
  while (const OperatorRow* row = find_operator(kSums, current())) {
    next();
    left = make_binary(ExprKind::kBinary, row->op, std::move(left), parse_concat());
  }
  return left;
}

ExprPtr Parser::parse_concat() {
  ExprPtr first = parse_product();
  if (!current().is_operator("~")) return first;
  const int line = first->line;
  std::vector<ExprPtr> parts = parts_of(std::move(first));
  while (skip_operator("~")) parts.push_back(parse_product());
  return make(ExprKind::kConcat, line, std::move(parts));
}

ExprPtr Parser::parse_product() {
  ExprPtr left = parse_power();
  while (const OperatorRow* row = find_operator(kProducts, current())) {
    next();
    left = make_binary(ExprKind::kBinary, row->op, std::move(left), parse_power());
  }
  return left;
}

/// jinja2 groups a ** b ** c from the left, unlike Python.
ExprPtr Parser::parse_power() {
  ExprPtr left = parse_unary();
  while (skip_operator("**"))
    left = make_binary(ExprKind::kBinary, Op::kPower, std::move(left), parse_unary());
  return left;
}

ExprPtr Parser::parse_unary(bool with_filter) {
  const Nest nest(*this);
  ExprPtr node;
  if (current().is_operator("-") || current().is_operator("+")) {
    const Token sign = next();
    node = make(sign.text == "-" ? ExprKind::kNegate : ExprKind::kPlus, sign.line,
                parts_of(parse_unary(false)));
  } else {
    node = parse_primary();
  }
  node = parse_postfix(std::move(node));
  return with_filter ? parse_filters_and_tests(std::move(node)) : std::move(node);
}

void Parser::note_name(std::string_view name) {
  const auto is_parameter = [&](const Signature& macro) {
    return std::find(macro.parameters.begin(), macro.parameters.end(), name) !=
           macro.parameters.end();
  };
  if (name == "loop")
    for (bool* used : loop_uses_) *used = true;
  for (Signature* macro : macros_) {
    if (is_parameter(*macro)) continue;
    macro->uses_caller |= name == "caller";
    macro->uses_kwargs |= name == "kwargs";
    macro->uses_varargs |= name == "varargs";
  }
}

ExprPtr Parser::parse_name(bool with_namespace) {
  const Token token = next();
  const std::string& name = token.text;
  if (name == "true" || name == "True" || name == "false" || name == "False" || name == "none" ||
      name == "None") {
    ExprPtr node = make(ExprKind::kConst, token.line);
    if (name != "none" && name != "None")
      node->literal = Value::of(name == "true" || name == "True");
    return node;
  }
  if (with_namespace && skip_operator(".")) {
    ExprPtr node = make(ExprKind::kNamespaceRef, token.line);
    node->name = name;
    node->member = expect(TokenKind::kName, "a namespace's member").text;
    return node;
  }
  note_name(name);
  ExprPtr node = make(ExprKind::kName, token.line);
  node->name = name;
  return node;
}

ExprPtr Parser::parse_literal() {
  const Token token = next();
  ExprPtr node = make(ExprKind::kConst, token.line);
  if (token.kind == TokenKind::kInteger) {
    node->literal = Value::of(token.integer);
  } else if (token.kind == TokenKind::kFloat) {
    node->literal = Value::of(token.real);
  } else {
    node->name = token.text;
    while (current().kind == TokenKind::kString) node->name += next().text;
    node->string = std::make_unique<StringObject>();
    node->string->text = node->name;
    node->string->length = code_point_count(node->name);
    node->literal = Value::of(node->string.get());
  }
  return node;
}

ExprPtr Parser::parse_primary(bool with_namespace) {
  switch (current().kind) {
    case TokenKind::kName: return parse_name(with_namespace);
    case TokenKind::kString:
    case TokenKind::kInteger:
    case TokenKind::kFloat: return parse_literal();
    default: break;
  }
  if (skip_operator("(")) {
    ExprPtr node = parse_tuple([&] { return parse_expression(); }, true);
    expect_operator(")");
    return node;
  }
  if (current().is_operator("[")) return parse_list();
  if (current().is_operator("{")) return parse_dict();
  fail_expected("an expression");
}

bool Parser::at_tuple_end(std::string_view end_name) const {
  const Token& token = current();
  return token.kind == TokenKind::kVariableEnd || token.kind == TokenKind::kBlockEnd ||
         token.is_operator(")") || (!end_name.empty() && token.is_name(end_name));
}

ExprPtr Parser::parse_tuple(const std::function<ExprPtr()>& item, bool parentheses,
                            std::string_view end_name) {
  const Nest nest(*this);
  const int line = current().line;
  std::vector<ExprPtr> items;
  bool is_tuple = false;
  while (!at_tuple_end(end_name)) {
    items.push_back(item());
    if (!skip_operator(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && !items.empty()) return std::move(items[0]);
  if (!is_tuple && !parentheses) fail_expected("an expression");
  return make(ExprKind::kTuple, line, std::move(items));
}

ExprPtr Parser::parse_full_tuple(bool with_condition, std::string_view end_name) {
  return parse_tuple([&] { return with_condition ? parse_expression() : parse_or(); }, false,
                     end_name);
}

ExprPtr Parser::parse_list() {
  const int line = next().line;
  std::vector<ExprPtr> items;
  while (!skip_operator("]")) {
    if (!items.empty()) {
      expect_operator(",");
      if (skip_operator("]")) break;
    }
    items.push_back(parse_expression());
  }
  return make(ExprKind::kList, line, std::move(items));
}

ExprPtr Parser::parse_dict() {
  const int line = next().line;
  std::vector<ExprPtr> items;
  while (!skip_operator("}")) {
    if (!items.empty()) {
      expect_operator(",");
      if (skip_operator("}")) break;
    }
    items.push_back(parse_expression());
    expect_operator(":");
    items.push_back(parse_expression());
  }
  return make(ExprKind::kDict, line, std::move(items));
}

}  // namespace tenon::jinja
