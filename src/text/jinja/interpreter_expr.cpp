// Expressions.
// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/attributes.h"
#include "text/jinja/dict.h"
#include "text/jinja/filters.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/items.h"
#include "text/jinja/operators.h"
#include "text/jinja/repr.h"
#include "text/jinja/tests.h"

namespace tenon::jinja {

Value Interpreter::eval(const Expr& expr, Scope& scope) {
  if (expr.kind == ExprKind::kConst) return expr.literal;
  charge(1);
  const Nest nest(*this);
  site.line = expr.line;
  switch (expr.kind) {
    case ExprKind::kConst: return expr.literal;
    case ExprKind::kName: return lookup(scope, expr.name);
    case ExprKind::kMember: return get_attribute(*this, eval(*expr.parts[0], scope), expr.name);
    case ExprKind::kItem: {
      const Value object = eval(*expr.parts[0], scope);
      return get_item(*this, object, eval(*expr.parts[1], scope));
    }
    case ExprKind::kSlice: return eval_slice(expr, scope);
    case ExprKind::kCall: return eval_call(expr, scope);
    case ExprKind::kFilter: return eval_filter(expr, scope, nullptr);
    case ExprKind::kTest: return eval_test(expr, scope);
    case ExprKind::kNot: return Value::of(!truthy(eval(*expr.parts[0], scope)));
    case ExprKind::kNegate: return negate(*this, eval(*expr.parts[0], scope));
    case ExprKind::kPlus: return plus(eval(*expr.parts[0], scope));
    case ExprKind::kBinary: {
      const Value left = eval(*expr.parts[0], scope);
      const Value right = eval(*expr.parts[1], scope);
      site.line = expr.line;
      return arithmetic(*this, expr.op, left, right);
    }
    case ExprKind::kAnd: {
      const Value left = eval(*expr.parts[0], scope);
      return truthy(left) ? eval(*expr.parts[1], scope) : left;
    }
    case ExprKind::kOr: {
      const Value left = eval(*expr.parts[0], scope);
      return truthy(left) ? left : eval(*expr.parts[1], scope);
    }
    case ExprKind::kConcat: return eval_concat(expr, scope);
    case ExprKind::kCompare: return eval_compare(expr, scope);
    case ExprKind::kCondition: return eval_condition(expr, scope);
    case ExprKind::kList:
    case ExprKind::kTuple: return eval_sequence(expr, scope);
    case ExprKind::kDict: return eval_dict(expr, scope);
    case ExprKind::kNamespaceRef: break;
  }
  fault("an assignment's target stands where a value is expected");
}

Value Interpreter::plus(const Value& value) {
  if (value.is_undefined()) fault_undefined(value);
  if (!value.is_number()) fault("bad operand type for unary +: '{}'", type_name(value));
  return value.is(Kind::kBool) ? Value::of(value.as_integer()) : value;
}

Value Interpreter::eval_compare(const Expr& expr, Scope& scope) {
  Value left = eval(*expr.parts[0], scope);
  for (std::size_t i = 0; i < expr.ops.size(); ++i) {
    const Value right = eval(*expr.parts[i + 1], scope);
    site.line = expr.line;
    if (!compare(*this, expr.ops[i], left, right)) return Value::of(false);
    left = right;
  }
  return Value::of(true);
}

Value Interpreter::eval_concat(const Expr& expr, Scope& scope) {
  Value result;
  for (std::size_t i = 0; i < expr.parts.size(); ++i) {
    const Value part = to_text(*this, eval(*expr.parts[i], scope));
    if (i == 0) {
      result = text_view(part.text(), part.string->length);
    } else {
      result = concat(result, part.text());
    }
  }
  return result;
}

Value Interpreter::eval_condition(const Expr& expr, Scope& scope) {
  if (truthy(eval(*expr.parts[1], scope))) return eval(*expr.parts[0], scope);
  if (expr.parts[2] != nullptr) return eval(*expr.parts[2], scope);
  return undefined_hint(
      fmt::format("the inline if-expression on line {} evaluated to false and no else section "
                  "was defined.",
                  expr.line));
}

Value Interpreter::eval_slice(const Expr& expr, Scope& scope) {
  const Value object = eval(*expr.parts[0], scope);
  Value bounds[3];
  for (std::size_t i = 0; i < 3; ++i)
    if (expr.parts[i + 1] != nullptr) bounds[i] = eval(*expr.parts[i + 1], scope);
  return slice(*this, object, bounds[0], bounds[1], bounds[2]);
}

Value Interpreter::eval_sequence(const Expr& expr, Scope& scope) {
  std::vector<Value> items;
  items.reserve(expr.parts.size());
  for (const ExprPtr& part : expr.parts) items.push_back(eval(*part, scope));
  return sequence(expr.kind == ExprKind::kList ? Kind::kList : Kind::kTuple, items);
}

Value Interpreter::eval_dict(const Expr& expr, Scope& scope) {
  const Value result = new_dict();
  for (std::size_t i = 0; i < expr.parts.size(); i += 2) {
    const Value key = eval(*expr.parts[i], scope);
    dict_set(*this, *result.dict, key, eval(*expr.parts[i + 1], scope));
  }
  return result;
}

void Interpreter::eval_arguments(const Arguments& arguments, Scope& scope, Args& args) {
  for (const ExprPtr& value : arguments.positional) args.positional.push_back(eval(*value, scope));
  for (const auto& [name, value] : arguments.named)
    args.named.emplace_back(name, eval(*value, scope));
  if (arguments.star != nullptr) {
    ItemSource items(*this, eval(*arguments.star, scope));
    for (Value item; items.next(item);) args.positional.push_back(item);
  }
  if (arguments.star_star == nullptr) return;
  const Value more = eval(*arguments.star_star, scope);
  if (!more.is(Kind::kDict)) fault("argument after ** must be a mapping, got {}", type_name(more));
  for (const auto& [key, value] : more.dict->items) {
    if (!key.is_string()) fault("keywords must be strings, got {}", type_name(key));
    charge(1 + args.named.size());
    for (const auto& [name, other] : args.named)
      if (name == key.text()) fault("got multiple values for keyword argument '{}'", name);
    args.named.emplace_back(key.text(), value);
  }
}

Value Interpreter::eval_call(const Expr& expr, Scope& scope, const Value* caller) {
  const Value callee = eval(*expr.parts[0], scope);
  Args args;
  eval_arguments(*expr.arguments, scope, args);
  if (caller != nullptr) args.named.emplace_back("caller", *caller);
  site.line = expr.line;
  return call(callee, args);
}

Value Interpreter::eval_filter(const Expr& expr, Scope& scope, const Value* piped) {
  const Nest nest(*this);
  const ExprPtr& inner = expr.parts[0];
  // In filter and set blocks the chain's innermost filter takes the block's text.
  Value subject;
  if (inner == nullptr) {
    subject = *piped;
  } else if (piped != nullptr && inner->kind == ExprKind::kFilter) {
    subject = eval_filter(*inner, scope, piped);
  } else {
    subject = eval(*inner, scope);
  }
  Args args;
  eval_arguments(*expr.arguments, scope, args);
  site.line = expr.line;
  return apply_filter(*this, expr.name, subject, args);
}

Value Interpreter::eval_test(const Expr& expr, Scope& scope) {
  const Value subject = eval(*expr.parts[0], scope);
  Args args;
  eval_arguments(*expr.arguments, scope, args);
  site.line = expr.line;
  return Value::of(apply_test(*this, expr.name, subject, args));
}

}  // namespace tenon::jinja
