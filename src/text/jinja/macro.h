// Objects that tie values to the syntax tree: scopes, macros and the `loop` variable.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory_resource>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/items.h"
#include "text/jinja/value.h"

namespace tenon::jinja {

/// Names of one block. Blocks see outward; assignments stay in the innermost scope.
struct Scope {
  explicit Scope(std::pmr::memory_resource* memory) : names(memory) {}
  Scope* parent = nullptr;
  std::pmr::vector<std::pair<std::string_view, Value>> names;
  bool captured = false;  ///< a macro may come back to it: not to be reused
};

/// A macro, or the body of a call block (no name).
struct MacroObject {
  const Signature* signature = nullptr;
  const Body* body = nullptr;
  Scope* scope = nullptr;  ///< where it was defined
};

/// A running loop.
struct LoopObject {
  LoopObject(Runtime& runtime, const Value& iterable)
      : source(runtime, iterable),
        sized(length_of(iterable)),
        rest(&runtime.arena),
        last_changed(&runtime.arena) {}
  ItemSource source;
  std::optional<std::int64_t> sized;  ///< length of the iterable, where it has one
  std::pmr::vector<Value> rest;       ///< the items ahead, once somebody asked for the length
  std::size_t rest_next = 0;
  bool drained = false;  ///< items come from `rest`
  std::int64_t index0 = -1;
  int depth0 = 0;
  Value before, current;
  std::optional<Value> after;  ///< the next item, once somebody looked
  std::optional<std::int64_t> length;
  std::pmr::vector<Value> last_changed;
  bool changed_called = false;
  const Stmt* stmt = nullptr;
  Scope* outer = nullptr;  ///< the scope around the loop
};

}  // namespace tenon::jinja
