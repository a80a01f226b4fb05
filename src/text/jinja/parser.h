// Recursive-descent parser: tokens to a syntax tree of bounded depth.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/site.h"
#include "text/jinja/token.h"

namespace tenon::jinja {

class Parser {
 public:
  /// `where` names the template in errors and must outlive the parser.
  Parser(std::vector<Token> tokens, std::string_view where)
      : tokens_(std::move(tokens)), where_(where) {}
  Body parse();

 private:
  using EndNames = std::initializer_list<std::string_view>;

  const Token& current() const { return tokens_[position_]; }
  const Token& look() const { return tokens_[std::min(position_ + 1, tokens_.size() - 1)]; }
  Token next();
  bool skip_name(std::string_view name);
  bool skip_operator(std::string_view op);
  Token expect(TokenKind kind, std::string_view what);
  void expect_operator(std::string_view op);
  [[noreturn]] void fail_expected(std::string_view what) const;
  [[noreturn]] void fail_line(int line, std::string_view message) const;

  // Statements.
  Body parse_until(EndNames ends);
  Body parse_block_body(EndNames ends);
  Stmt parse_statement();
  Stmt parse_output();
  Stmt parse_set();
  Stmt parse_for();
  Stmt parse_if();
  Stmt parse_with();
  Stmt parse_macro();
  Stmt parse_call_block();
  Stmt parse_filter_block();
  Stmt parse_generation();
  Stmt parse_loop_control();
  Stmt parse_print();
  void parse_parameters(Signature& signature);
  Body parse_macro_body(Signature& signature, EndNames ends);
  ExprPtr parse_target(bool with_namespace, std::string_view end_name = {});
  void check_target(const Expr& target) const;

  // Expressions, loosest first.
  ExprPtr parse_expression() { return parse_condition(); }
  ExprPtr parse_condition();
  ExprPtr parse_or();
  ExprPtr parse_and();
  ExprPtr parse_not();
  ExprPtr parse_compare();
  ExprPtr parse_sum();
  ExprPtr parse_concat();
  ExprPtr parse_product();
  ExprPtr parse_power();
  ExprPtr parse_unary(bool with_filter = true);
  ExprPtr parse_primary(bool with_namespace = false);
  ExprPtr parse_literal();
  ExprPtr parse_name(bool with_namespace);
  ExprPtr parse_list();
  ExprPtr parse_dict();
  ExprPtr parse_tuple(const std::function<ExprPtr()>& item, bool parentheses,
                      std::string_view end_name = {});
  ExprPtr parse_full_tuple(bool with_condition, std::string_view end_name = {});
  bool at_tuple_end(std::string_view end_name) const;
  ExprPtr parse_postfix(ExprPtr node);
  ExprPtr parse_filters_and_tests(ExprPtr node);
  ExprPtr parse_subscript(ExprPtr node);
  ExprPtr parse_subscribed(ExprPtr object);
  ExprPtr parse_call(ExprPtr node);
  ExprPtr parse_filter(ExprPtr node, bool inline_start);
  ExprPtr parse_test(ExprPtr node);
  std::unique_ptr<Arguments> parse_arguments();

  ExprPtr make(ExprKind kind, int line, std::vector<ExprPtr> parts = {}) const;
  ExprPtr make_binary(ExprKind kind, Op op, ExprPtr left, ExprPtr right) const;
  void check_height(Expr& node) const;
  void note_name(std::string_view name);

  /// Counts how deep the parser is in itself; throws past the limit.
  class Nest {
   public:
    explicit Nest(Parser& parser);
    ~Nest() { --parser_.depth_; }
    Nest(const Nest&) = delete;
    Nest& operator=(const Nest&) = delete;

   private:
    Parser& parser_;
  };

  std::vector<Token> tokens_;
  std::string_view where_;
  std::size_t position_ = 0;
  int depth_ = 0;
  int loops_ = 0;         ///< loops around the current statement, up to the macro it is in
  int conditionals_ = 0;  ///< ifs around: there an unknown filter is no error until it is used
  std::vector<bool*> loop_uses_;    ///< of the loops around: set when `loop` is named
  std::vector<Signature*> macros_;  ///< macros and call blocks around the current expression
};

/// Whether jinja2 knows a filter or test of this name.
bool is_known_filter(std::string_view name);
bool is_known_test(std::string_view name);

}  // namespace tenon::jinja
