// Statements and scopes.
// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/interpreter.h"

#include "text/jinja/dict.h"
#include "text/jinja/globals.h"
#include "text/jinja/items.h"
#include "text/jinja/repr.h"

namespace tenon::jinja {

Interpreter::Interpreter(std::string_view where, const Limits& limits) : Runtime(where, limits) {
  globals_ = acquire(nullptr);
  define_globals(*this, [&](std::string_view name, const Value& value) {
    assign_name(*globals_, name, value);
  });
  root_ = acquire(globals_);
}

std::string Interpreter::run(const Body& body) {
  std::string text;
  out_ = &text;
  exec_body(body, *root_);
  return text;
}

void Interpreter::write(std::string_view text) {
  charge_bytes(text.size());
  written_ += text.size();
  if (written_ > limits().output_bytes)
    fail_at(site, ErrorCode::kResourceExhausted, "the template writes more than {} bytes",
            limits().output_bytes);
  out_->append(text);
}

Scope* Interpreter::acquire(Scope* parent) {
  Scope* scope = nullptr;
  if (free_scopes_.empty()) {
    scope = arena.make<Scope>(&arena);
  } else {
    scope = free_scopes_.back();
    free_scopes_.pop_back();
  }
  scope->parent = parent;
  return scope;
}

void Interpreter::release(Scope* scope) {
  if (scope->captured) return;
  scope->names.clear();
  free_scopes_.push_back(scope);
}

void Interpreter::capture(Scope* scope) {
  for (; scope != nullptr && !scope->captured; scope = scope->parent) scope->captured = true;
}

Value Interpreter::lookup(const Scope& scope, std::string_view name) {
  for (const Scope* at = &scope; at != nullptr; at = at->parent) {
    charge(1 + at->names.size() / 8);
    for (const auto& [other, value] : at->names)
      if (other == name) return value;
  }
  return undefined_name(name);
}

void Interpreter::assign_name(Scope& scope, std::string_view name, const Value& value) {
  charge(1 + scope.names.size() / 8);
  for (auto& [other, old] : scope.names) {
    if (other == name) {
      old = value;
      return;
    }
  }
  scope.names.emplace_back(name, value);
}

void Interpreter::assign_member(const Expr& target, const Value& value, Scope& scope) {
  const Value object = lookup(scope, target.name);
  if (!object.is(Kind::kNamespace))
    fault("cannot assign attribute on non-namespace object '{}' ({})", target.name,
          type_name(object));
  dict_set(*this, *object.name_space->members, text_view(target.member), value);
}

void Interpreter::assign(const Expr& target, const Value& value, Scope& scope) {
  if (target.kind == ExprKind::kName) {
    assign_name(scope, target.name, value);
    return;
  }
  if (target.kind == ExprKind::kNamespaceRef) {
    assign_member(target, value, scope);
    return;
  }
  const Nest nest(*this);
  const std::vector<Value> items = to_vector(*this, value);
  if (items.size() != target.parts.size())
    fault("cannot unpack: expected {} values, got {}", target.parts.size(), items.size());
  for (std::size_t i = 0; i < items.size(); ++i) assign(*target.parts[i], items[i], scope);
}

Interpreter::Flow Interpreter::exec_body(const Body& body, Scope& scope) {
  for (const Stmt& stmt : body) {
    const Flow flow = exec(stmt, scope);
    if (flow != Flow::kNormal) return flow;
  }
  return Flow::kNormal;
}

Interpreter::Flow Interpreter::exec(const Stmt& stmt, Scope& scope) {
  charge(1);
  site.line = stmt.line;
  const Nest nest(*this);
  switch (stmt.kind) {
    case StmtKind::kText: write(stmt.text); break;
    case StmtKind::kOutput: exec_output(stmt, scope); break;
    case StmtKind::kIf: return exec_if(stmt, scope);
    case StmtKind::kFor: exec_for(stmt, scope); break;
    case StmtKind::kSet: assign(*stmt.target, eval(*stmt.value, scope), scope); break;
    case StmtKind::kSetBlock: exec_set_block(stmt, scope); break;
    case StmtKind::kMacro: exec_macro(stmt, scope); break;
    case StmtKind::kCallBlock: exec_call_block(stmt, scope); break;
    case StmtKind::kFilterBlock: exec_filter_block(stmt, scope); break;
    case StmtKind::kWith: exec_with(stmt, scope); break;
    case StmtKind::kScope: {
      Block block(*this, &scope);
      exec_body(stmt.body, block.scope());
      break;
    }
    case StmtKind::kBreak: return Flow::kBreak;
    case StmtKind::kContinue: return Flow::kContinue;
  }
  return Flow::kNormal;
}

Interpreter::Flow Interpreter::exec_if(const Stmt& stmt, Scope& scope) {
  for (const Branch& branch : stmt.branches)
    if (branch.test == nullptr || truthy(eval(*branch.test, scope)))
      return exec_body(branch.body, scope);
  return Flow::kNormal;
}

void Interpreter::exec_output(const Stmt& stmt, Scope& scope) {
  for (const ExprPtr& expr : stmt.values) {
    const Value value = eval(*expr, scope);
    if (value.is_string()) {
      write(value.text());
    } else if (!value.is_undefined()) {
      TextBuilder text(*this);
      append_text(text, *this, value);
      write(text.str());
    }
  }
}

void Interpreter::exec_set_block(const Stmt& stmt, Scope& scope) {
  Block block(*this, &scope);
  Value value;
  {
    Capture captured(*this);
    exec_body(stmt.body, block.scope());
    value = captured.finish();
  }
  if (stmt.value != nullptr) value = eval_filter(*stmt.value, block.scope(), &value);
  assign(*stmt.target, value, scope);
}

void Interpreter::exec_filter_block(const Stmt& stmt, Scope& scope) {
  Block block(*this, &scope);
  Value value;
  {
    Capture captured(*this);
    exec_body(stmt.body, block.scope());
    value = captured.finish();
  }
  write(to_text(*this, eval_filter(*stmt.value, block.scope(), &value)).text());
}

void Interpreter::exec_macro(const Stmt& stmt, Scope& scope) {
  capture(&scope);
  Value value;
  value.kind = Kind::kMacro;
  value.macro = arena.make<MacroObject>(MacroObject{stmt.signature.get(), &stmt.body, &scope});
  assign_name(scope, stmt.signature->name, value);
}

void Interpreter::exec_call_block(const Stmt& stmt, Scope& scope) {
  capture(&scope);
  Value caller;
  caller.kind = Kind::kMacro;
  caller.macro = arena.make<MacroObject>(MacroObject{stmt.signature.get(), &stmt.body, &scope});
  write(to_text(*this, eval_call(*stmt.value, scope, &caller)).text());
}

void Interpreter::exec_with(const Stmt& stmt, Scope& scope) {
  Block block(*this, &scope);
  for (std::size_t i = 0; i < stmt.targets.size(); ++i)
    assign(*stmt.targets[i], eval(*stmt.values[i], scope), block.scope());
  exec_body(stmt.body, block.scope());
}

}  // namespace tenon::jinja
