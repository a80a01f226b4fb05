// Walks the syntax tree and writes the text.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/macro.h"
#include "text/jinja/runtime.h"

namespace tenon::jinja {

class Interpreter final : public Runtime {
 public:
  Interpreter(std::string_view where, const Limits& limits);

  /// Sets a variable of the template's context.
  void define(std::string_view name, const Value& value) { assign_name(*root_, name, value); }
  std::string run(const Body& body);

  Value call(const Value& callee, Args& args) override;

  // For attributes.cpp: what templates ask of `loop`.
  std::int64_t loop_length(LoopObject& loop);
  std::optional<Value> loop_peek(LoopObject& loop);

 private:
  enum class Flow : std::uint8_t { kNormal, kBreak, kContinue };

  /// Redirects output into a text of its own while it lives.
  class Capture {
   public:
    explicit Capture(Interpreter& owner) : owner_(owner), outer_(owner.out_) {
      owner.out_ = &text_;
    }
    ~Capture() { owner_.out_ = outer_; }
    Capture(const Capture&) = delete;
    Capture& operator=(const Capture&) = delete;
    Value finish() { return owner_.text(text_); }

   private:
    Interpreter& owner_;
    std::string* outer_;
    std::string text_;
  };

  /// A scope for the duration of a block.
  class Block {
   public:
    Block(Interpreter& owner, Scope* parent) : owner_(owner), scope_(owner.acquire(parent)) {}
    ~Block() { owner_.release(scope_); }
    Block(const Block&) = delete;
    Block& operator=(const Block&) = delete;
    Scope& scope() { return *scope_; }

   private:
    Interpreter& owner_;
    Scope* scope_;
  };

  void write(std::string_view text);
  Scope* acquire(Scope* parent);
  void release(Scope* scope);
  static void capture(Scope* scope);
  Value lookup(const Scope& scope, std::string_view name);
  void assign_name(Scope& scope, std::string_view name, const Value& value);
  void assign(const Expr& target, const Value& value, Scope& scope);
  void assign_member(const Expr& target, const Value& value, Scope& scope);

  Flow exec_body(const Body& body, Scope& scope);
  Flow exec(const Stmt& stmt, Scope& scope);
  Flow exec_if(const Stmt& stmt, Scope& scope);
  void exec_output(const Stmt& stmt, Scope& scope);
  void exec_set_block(const Stmt& stmt, Scope& scope);
  void exec_macro(const Stmt& stmt, Scope& scope);
  void exec_call_block(const Stmt& stmt, Scope& scope);
  void exec_filter_block(const Stmt& stmt, Scope& scope);
  void exec_with(const Stmt& stmt, Scope& scope);

  void exec_for(const Stmt& stmt, Scope& scope);
  void run_loop(const Stmt& stmt, Scope& outer, const Value& iterable, int depth);
  Flow run_iteration(LoopObject& loop, Scope& scope);
  bool fetch(LoopObject& loop, Value& item);
  bool advance(LoopObject& loop);

  Value eval(const Expr& expr, Scope& scope);
  Value eval_compare(const Expr& expr, Scope& scope);
  Value eval_concat(const Expr& expr, Scope& scope);
  Value eval_condition(const Expr& expr, Scope& scope);
  Value eval_slice(const Expr& expr, Scope& scope);
  Value eval_sequence(const Expr& expr, Scope& scope);
  Value eval_dict(const Expr& expr, Scope& scope);
  Value eval_call(const Expr& expr, Scope& scope, const Value* caller = nullptr);
  Value eval_filter(const Expr& expr, Scope& scope, const Value* piped);
  Value eval_test(const Expr& expr, Scope& scope);
  Value plus(const Value& value);
  void eval_arguments(const Arguments& arguments, Scope& scope, Args& args);

  Value invoke(const MacroObject& macro, Args& args);
  void bind(const MacroObject& macro, Args& args, Scope& scope);
  void bind_specials(const Signature& signature, Args& args, bool caller_is_parameter,
                     Scope& scope);

  std::string* out_ = nullptr;
  std::size_t written_ = 0;
  Scope* globals_ = nullptr;
  Scope* root_ = nullptr;
  std::vector<Scope*> free_scopes_;
};

}  // namespace tenon::jinja
