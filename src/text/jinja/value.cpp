// Type names and truth.
// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/value.h"

namespace tenon::jinja {

std::string_view type_name(const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined: return "Undefined";
    case Kind::kNone: return "NoneType";
    case Kind::kBool: return "bool";
    case Kind::kInt: return "int";
    case Kind::kFloat: return "float";
    case Kind::kString: return value.string->markup ? "Markup" : "str";
    case Kind::kList: return "list";
    case Kind::kTuple: return "tuple";
    case Kind::kDict: return "dict";
    case Kind::kRange: return "range";
    case Kind::kView:
      switch (value.view->part) {
        case ViewObject::Part::kKeys: return "dict_keys";
        case ViewObject::Part::kValues: return "dict_values";
        case ViewObject::Part::kItems: return "dict_items";
      }
      break;
    case Kind::kIterator: return value.iterator->type_name;
    case Kind::kNamespace: return "Namespace";
    case Kind::kFunction: return "builtin_function_or_method";
    case Kind::kMacro: return "Macro";
    case Kind::kLoop: return "LoopContext";
    case Kind::kCycler: return "Cycler";
    case Kind::kJoiner: return "Joiner";
  }
  return "object";
}

bool truthy(const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined:
    case Kind::kNone: return false;
    case Kind::kBool: return value.boolean;
    case Kind::kInt: return value.integer != 0;
    case Kind::kFloat: return value.real != 0;
    case Kind::kString: return !value.text().empty();
    case Kind::kList:
    case Kind::kTuple: return !value.sequence->items.empty();
    case Kind::kDict: return !value.dict->items.empty();
    case Kind::kRange: return value.range->length > 0;
    case Kind::kView: return !value.view->dict->items.empty();
    default: return true;
  }
}

}  // namespace tenon::jinja
