// The syntax tree. One node type for expressions and one for statements; `kind` says which
// fields count. Read-only once parsed, so that threads may render one template together.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/value.h"

namespace tenon::jinja {

enum class ExprKind : std::uint8_t {
  kConst,   ///< literal
  kName,    ///< name
  kMember,  ///< parts[0].name
  kItem,    ///< parts[0][parts[1]]
  kSlice,   ///< parts[0][parts[1]:parts[2]:parts[3]], any of which may be null
  kCall,    ///< parts[0](arguments)
  kFilter,  ///< parts[0]|name(arguments); parts[0] null in filter and set blocks
  kTest,    ///< parts[0] is name(arguments)
  kNot,
  kNegate,
  kPlus,
  kBinary,  ///< parts[0] op parts[1]
  kAnd,
  kOr,
  kConcat,     ///< parts joined by ~
  kCompare,    ///< parts[0] ops[0] parts[1] ops[1] …
  kCondition,  ///< parts[0] if parts[1] else parts[2] (may be null)
  kList,
  kTuple,
  kDict,          ///< keys and values by turns
  kNamespaceRef,  ///< name.member, as a target of set
};

enum class Op : std::uint8_t {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn,
};

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

struct Arguments {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr star, star_star;
};

struct Expr {
  ExprKind kind = ExprKind::kConst;
  Op op = Op::kAdd;
  int line = 1;
  int height = 1;  ///< of the tree below, to bound recursion
  std::string name;
  std::string member;
  Value literal;
  std::unique_ptr<StringObject> string;  ///< what a string literal points to; its text is `name`
  std::vector<ExprPtr> parts;
  std::vector<Op> ops;
  std::unique_ptr<Arguments> arguments;
};

enum class StmtKind : std::uint8_t {
  kText,    ///< text
  kOutput,  ///< values, printed one after the other
  kIf,      ///< branches; one without a test is the else
  kFor,
  kSet,       ///< target = value
  kSetBlock,  ///< target = body, through value (a chain of filters) where not null
  kMacro,
  kCallBlock,    ///< value is the call; body and parameters those of its caller()
  kFilterBlock,  ///< body through value
  kWith,         ///< targets = values
  kScope,        ///< body with its own names ({% generation %})
  kBreak,
  kContinue,
};

struct Stmt;
using Body = std::vector<Stmt>;

struct Branch {
  ExprPtr test;
  Body body;
};

/// What a macro, or the body of a call block, takes and reads.
struct Signature {
  std::string name;
  std::vector<std::string> parameters;
  std::vector<ExprPtr> defaults;  ///< of the last parameters
  bool uses_caller = false, uses_kwargs = false, uses_varargs = false;
};

struct Stmt {
  StmtKind kind = StmtKind::kText;
  int line = 1;
  std::string text;
  ExprPtr target;
  ExprPtr value;  ///< kFor: what is walked
  ExprPtr test;   ///< kFor: the condition on each item, may be null
  bool recursive = false;
  bool uses_loop = false;  ///< kFor: its body, or something in it, names `loop`
  std::vector<ExprPtr> targets, values;
  std::vector<Branch> branches;
  Body body, else_body;
  std::unique_ptr<Signature> signature;
};

}  // namespace tenon::jinja
