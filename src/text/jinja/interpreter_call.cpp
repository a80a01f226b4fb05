// Calls: built-ins, macros with Python's binding of arguments, recursive loops.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "text/jinja/dict.h"
#include "text/jinja/interpreter.h"

namespace tenon::jinja {

Value Interpreter::call(const Value& callee, Args& args) {
  const Nest nest(*this);
  charge(1);
  switch (callee.kind) {
    case Kind::kFunction: return callee.function->body(*this, callee.function->self, args);
    case Kind::kMacro: return invoke(*callee.macro, args);
    case Kind::kUndefined: fault_undefined(callee);
    case Kind::kJoiner: {
      JoinerObject& joiner = *callee.joiner;
      if (std::exchange(joiner.used, true)) return joiner.separator;
      return text_view({}, 0);
    }
    case Kind::kLoop: {
      const LoopObject& loop = *callee.loop;
      if (!loop.stmt->recursive)
        fault("The loop must have the 'recursive' marker to be called recursively.");
      if (args.positional.size() != 1 || !args.named.empty())
        fault("loop() expects one argument, got {}", args.positional.size() + args.named.size());
      Capture captured(*this);
      run_loop(*loop.stmt, *loop.outer, args.positional[0], loop.depth0 + 1);
      return captured.finish();
    }
    default: fault("'{}' object is not callable", type_name(callee));
  }
}

Value Interpreter::invoke(const MacroObject& macro, Args& args) {
  Block block(*this, macro.scope);
  Capture captured(*this);
  bind(macro, args, block.scope());
  exec_body(*macro.body, block.scope());
  return captured.finish();
}

void Interpreter::bind(const MacroObject& macro, Args& args, Scope& scope) {
  const Signature& signature = *macro.signature;
  const std::size_t count = signature.parameters.size();
  const std::size_t first_default = count - signature.defaults.size();
  bool caller_is_parameter = false;
  std::vector<std::optional<Value>> bound(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::string& name = signature.parameters[i];
    caller_is_parameter |= name == "caller";
    if (i < args.positional.size()) {
      bound[i] = args.positional[i];
      continue;
    }
    const auto named = std::find_if(args.named.begin(), args.named.end(),
                                    [&](const auto& row) { return row.first == name; });
    if (named == args.named.end()) continue;
    bound[i] = named->second;
    args.named.erase(named);
  }
  bind_specials(signature, args, caller_is_parameter, scope);
  for (std::size_t i = 0; i < count; ++i) {
    const std::string& name = signature.parameters[i];
    if (bound[i].has_value()) {
      assign_name(scope, name, *bound[i]);
    } else if (i >= first_default) {
      assign_name(scope, name, eval(*signature.defaults[i - first_default], scope));
    } else {
      assign_name(scope, name,
                  undefined_hint(fmt::format("parameter '{}' was not provided", name)));
    }
  }
}

/// caller, kwargs and varargs: given to a macro only where its body reads them.
void Interpreter::bind_specials(const Signature& signature, Args& args, bool caller_is_parameter,
                                Scope& scope) {
  const auto caller = std::find_if(args.named.begin(), args.named.end(),
                                   [](const auto& row) { return row.first == "caller"; });
  if (signature.uses_caller && !caller_is_parameter) {
    if (caller == args.named.end()) {
      assign_name(scope, "caller", undefined_hint("No caller defined"));
    } else {
      assign_name(scope, "caller", caller->second);
      args.named.erase(caller);
    }
  }
  if (signature.uses_kwargs) {
    const Value rest = new_dict();
    for (const auto& [name, value] : args.named) dict_set(*this, *rest.dict, text(name), value);
    assign_name(scope, "kwargs", rest);
  } else if (!args.named.empty()) {
    fault("macro '{}' takes no keyword argument '{}'", signature.name, args.named[0].first);
  }
  const std::size_t count = signature.parameters.size();
  if (signature.uses_varargs) {
    std::vector<Value> rest;
    for (std::size_t i = count; i < args.positional.size(); ++i) rest.push_back(args.positional[i]);
    assign_name(scope, "varargs", tuple(rest));
  } else if (args.positional.size() > count) {
    fault("macro '{}' takes not more than {} argument(s)", signature.name, count);
  }
}

}  // namespace tenon::jinja
