// A JSON value: parsed strictly (no duplicate keys, bounded depth and size), printed, walked.
// Objects keep the order of their members. The parser behind it is nlohmann-json's.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace tenon {

struct JsonLimits {
  std::size_t max_depth = 128;
  std::size_t max_bytes = std::size_t{1} << 30;
};

class Json {
 public:
  using Array = std::vector<Json>;
  using Member = std::pair<std::string, Json>;
  using Object = std::vector<Member>;

  Json() = default;
  Json(std::nullptr_t) {}
  Json(bool value) : value_(value) {}
  Json(int value) : value_(std::int64_t{value}) {}
  Json(std::int64_t value) : value_(value) {}
  Json(std::uint64_t value);  ///< above INT64_MAX it becomes a double
  Json(double value) : value_(value) {}
  Json(const char* value) : value_(std::string(value)) {}
  Json(std::string_view value) : value_(std::string(value)) {}
  Json(std::string value) : value_(std::move(value)) {}
  Json(Array value) : value_(std::move(value)) {}
  Json(Object value) : value_(std::move(value)) {}

  static Json array() { return Json(Array{}); }
  static Json object() { return Json(Object{}); }

  /// Parses UTF-8 text. `where` names the source in errors ("config.json"). Throws
  /// Error{kCorrupt} with the position: syntax, duplicate keys, too deep, too large, bad UTF-8.
  static Json parse(std::string_view text, std::string_view where, const JsonLimits& limits = {});

  /// Text; indent < 0 gives one line. Bytes that are not UTF-8 are written as U+FFFD.
  std::string dump(int indent = -1) const;

  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
  bool is_bool() const { return std::holds_alternative<bool>(value_); }
  bool is_int() const { return std::holds_alternative<std::int64_t>(value_); }
  bool is_number() const { return is_int() || std::holds_alternative<double>(value_); }
  bool is_string() const { return std::holds_alternative<std::string>(value_); }
  bool is_array() const { return std::holds_alternative<Array>(value_); }
  bool is_object() const { return std::holds_alternative<Object>(value_); }
  const char* kind_name() const;

  /// Each throws Error{kCorrupt} "`what`: expected …, got …" when the kind is another.
  bool as_bool(std::string_view what) const;
  std::int64_t as_int(std::string_view what) const;  ///< also a double without a fraction
  double as_double(std::string_view what) const;
  const std::string& as_string(std::string_view what) const;
  const Array& as_array(std::string_view what) const;
  const Object& as_object(std::string_view what) const;
  /// The same to be changed; null becomes an empty one first.
  Array& mutable_array(std::string_view what = "JSON");
  Object& mutable_object(std::string_view what = "JSON");

  /// Member of an object, null pointer where it is missing or this is no object. Linear time.
  const Json* find(std::string_view key) const;
  /// Member of an object; throws Error{kCorrupt} naming `key` and `what` where it is missing.
  const Json& at(std::string_view key, std::string_view what) const;
  /// Sets or replaces a member (of an object or null; else throws as mutable_object()).
  void set(std::string_view key, Json value);
  /// Appends to an array (or null; else throws as mutable_array()).
  void push_back(Json value);

  bool operator==(const Json&) const = default;

 private:
  std::variant<std::monostate, bool, std::int64_t, double, std::string, Array, Object> value_;
};

}  // namespace tenon
