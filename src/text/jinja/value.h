// Values of a template: the Python objects that Jinja sees. A Value is two words; what it points
// to lives in the rendering's arena (or in the template, or in the caller's Json) and is
// immutable, except namespaces, iterators and the loop helpers.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory_resource>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace tenon::jinja {

class Runtime;
struct Args;
struct MacroObject;
struct LoopObject;

enum class Kind : std::uint8_t {
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kList,
  kTuple,
  kDict,
  kRange,
  kView,      ///< dict.keys(), .values(), .items()
  kIterator,  ///< generators and reversed(): walked once
  kNamespace,
  kFunction,  ///< a global function, or a method bound to its object
  kMacro,
  kLoop,
  kCycler,
  kJoiner,
};

struct UndefinedObject;
struct StringObject;
struct SequenceObject;
struct DictObject;
struct RangeObject;
struct ViewObject;
struct IteratorObject;
struct NamespaceObject;
struct FunctionObject;
struct CyclerObject;
struct JoinerObject;

struct Value {
  Kind kind = Kind::kNone;
  union {
    bool boolean;
    std::int64_t integer;
    double real;
    const UndefinedObject* undefined;  ///< may be null: no name is known
    const StringObject* string;
    const SequenceObject* sequence;  ///< kList and kTuple
    DictObject* dict;
    const RangeObject* range;
    const ViewObject* view;
    IteratorObject* iterator;
    NamespaceObject* name_space;
    const FunctionObject* function;
    MacroObject* macro;
    LoopObject* loop;
    CyclerObject* cycler;
    JoinerObject* joiner;
  };

  Value() : integer(0) {}
  static Value none() { return {}; }
  static Value of(bool value);
  static Value of(std::int64_t value);
  static Value of(double value);
  static Value of(const StringObject* value);

  bool is(Kind other) const { return kind == other; }
  bool is_undefined() const { return kind == Kind::kUndefined; }
  bool is_none() const { return kind == Kind::kNone; }
  bool is_string() const { return kind == Kind::kString; }
  bool is_integral() const { return kind == Kind::kInt || kind == Kind::kBool; }
  bool is_number() const { return is_integral() || kind == Kind::kFloat; }
  bool is_array() const { return kind == Kind::kList || kind == Kind::kTuple; }
  bool is_callable() const;

  /// Of kInt and kBool, which Python counts as 0 and 1.
  std::int64_t as_integer() const { return kind == Kind::kBool ? boolean : integer; }
  /// Of any number.
  double as_real() const { return kind == Kind::kFloat ? real : static_cast<double>(as_integer()); }
  std::string_view text() const;  ///< of kString
};

/// Why a value is undefined; the message is made only when somebody trips over it.
struct UndefinedObject {
  std::string_view hint;  ///< the whole message, where not empty
  Value name;             ///< string, or whatever stood between the brackets
  Value object;           ///< what was asked for `name`, where has_object
  bool has_object = false;
};

/// A growing text that several strings are prefixes of: appending to the longest is in place.
struct StringBuffer {
  char* end = nullptr;
  char* limit = nullptr;
};

struct StringObject {
  std::string_view text;           ///< UTF-8
  std::int64_t length = 0;         ///< code points
  StringBuffer* buffer = nullptr;  ///< where `text` may be continued
  bool markup = false;             ///< made by the filters safe and escape
  bool is_ascii() const { return length == static_cast<std::int64_t>(text.size()); }
};

struct SequenceObject {
  std::pmr::vector<Value> items;
  bool group = false;  ///< a pair made by groupby: has .grouper and .list
};

struct DictObject {
  explicit DictObject(std::pmr::memory_resource* memory) : items(memory), index(memory) {}
  std::pmr::vector<std::pair<Value, Value>> items;                   ///< in order of insertion
  std::pmr::unordered_multimap<std::uint64_t, std::uint32_t> index;  ///< hash to place, see dict.h
};

struct RangeObject {
  std::int64_t start = 0, stop = 0, step = 1, length = 0;
};

struct ViewObject {
  enum class Part : std::uint8_t { kKeys, kValues, kItems };
  DictObject* dict = nullptr;
  Part part = Part::kKeys;
};

struct IteratorObject {
  std::pmr::vector<Value> items;
  std::size_t next = 0;
  std::string_view type_name = "generator";
  std::string_view fault = {};  ///< message of the error that follows the last item, if any
};

struct NamespaceObject {
  DictObject* members = nullptr;
};

using Function = Value (*)(Runtime&, const Value& self, Args&);

struct FunctionObject {
  std::string_view name;
  Function body = nullptr;
  Value self;  ///< none for a global function
};

struct CyclerObject {
  std::pmr::vector<Value> items;
  std::size_t position = 0;
};

struct JoinerObject {
  Value separator;
  bool used = false;
};

/// Arguments of one call, already evaluated.
struct Args {
  std::vector<Value> positional;
  std::vector<std::pair<std::string_view, Value>> named;
};

inline Value Value::of(bool value) {
  Value result;
  result.kind = Kind::kBool;
  result.boolean = value;
  return result;
}
inline Value Value::of(std::int64_t value) {
  Value result;
  result.kind = Kind::kInt;
  result.integer = value;
  return result;
}
inline Value Value::of(double value) {
  Value result;
  result.kind = Kind::kFloat;
  result.real = value;
  return result;
}
inline Value Value::of(const StringObject* value) {
  Value result;
  result.kind = Kind::kString;
  result.string = value;
  return result;
}
inline std::string_view Value::text() const { return string->text; }
inline bool Value::is_callable() const {
  return kind == Kind::kFunction || kind == Kind::kMacro || kind == Kind::kLoop ||
         kind == Kind::kJoiner || kind == Kind::kUndefined;
}

/// Python's name of the value's type, such as "str" or "NoneType".
std::string_view type_name(const Value& value);

/// Python's bool().
bool truthy(const Value& value);

}  // namespace tenon::jinja
