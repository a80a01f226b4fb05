// Loops: items with filters, look-ahead for loop.last and loop.length, recursion.
// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/interpreter.h"

namespace tenon::jinja {

/// The next item that passes the loop's condition. The condition runs only when the item's turn
/// has come, as Python's generator would, so it sees what the body did before.
bool Interpreter::fetch(LoopObject& loop, Value& item) {
  if (loop.drained) {
    if (loop.rest_next >= loop.rest.size()) return false;
    item = loop.rest[loop.rest_next++];
    return true;
  }
  while (loop.source.next(item)) {
    if (loop.stmt->test == nullptr) return true;
    Block block(*this, loop.outer);
    assign(*loop.stmt->target, item, block.scope());
    if (truthy(eval(*loop.stmt->test, block.scope()))) return true;
  }
  return false;
}

std::optional<Value> Interpreter::loop_peek(LoopObject& loop) {
  Value item;
  if (!loop.after.has_value() && fetch(loop, item)) loop.after = item;
  return loop.after;
}

std::int64_t Interpreter::loop_length(LoopObject& loop) {
  if (loop.length.has_value()) return *loop.length;
  if (loop.sized.has_value() && loop.stmt->test == nullptr) {
    loop.length = loop.sized;
    return *loop.length;
  }
  if (!loop.drained) {
    std::pmr::vector<Value> ahead(&arena);
    for (Value item; fetch(loop, item);) ahead.push_back(item);
    loop.rest = std::move(ahead);
    loop.drained = true;
  }
  const auto remaining = static_cast<std::int64_t>(loop.rest.size() - loop.rest_next);
  loop.length = remaining + loop.index0 + 1 + (loop.after.has_value() ? 1 : 0);
  return *loop.length;
}

bool Interpreter::advance(LoopObject& loop) {
  Value item;
  if (loop.after.has_value()) {
    item = *loop.after;
    loop.after.reset();
  } else if (!fetch(loop, item)) {
    return false;
  }
  ++loop.index0;
  loop.before = loop.current;
  loop.current = item;
  return true;
}

Interpreter::Flow Interpreter::run_iteration(LoopObject& loop, Scope& scope) {
  if (loop.stmt->uses_loop) {
    Value variable;
    variable.kind = Kind::kLoop;
    variable.loop = &loop;
    assign_name(scope, "loop", variable);
  }
  assign(*loop.stmt->target, loop.current, scope);
  return exec_body(loop.stmt->body, scope);
}

void Interpreter::run_loop(const Stmt& stmt, Scope& outer, const Value& iterable, int depth) {
  // A loop that nobody names `loop` in cannot outlive this call: the arena need not keep it.
  std::optional<LoopObject> local;
  LoopObject& loop =
      stmt.uses_loop ? *arena.make<LoopObject>(*this, iterable) : local.emplace(*this, iterable);
  loop.stmt = &stmt;
  loop.outer = &outer;
  loop.depth0 = depth;
  bool empty = true;
  while (advance(loop)) {
    Block block(*this, &outer);
    const Flow flow = run_iteration(loop, block.scope());
    site.line = stmt.line;
    // As in jinja2, an item whose body was left early does not keep the else from running.
    if (flow == Flow::kNormal) empty = false;
    if (flow == Flow::kBreak) break;
  }
  if (!empty || stmt.else_body.empty()) return;
  Block block(*this, &outer);
  exec_body(stmt.else_body, block.scope());
}

void Interpreter::exec_for(const Stmt& stmt, Scope& scope) {
  // A loop kept in a namespace may ask for its items, or be called, when its block has ended.
  if (stmt.uses_loop && (stmt.recursive || stmt.test != nullptr)) capture(&scope);
  run_loop(stmt, scope, eval(*stmt.value, scope), 0);
}

}  // namespace tenon::jinja
