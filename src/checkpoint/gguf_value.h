// Metadata of a GGUF file: typed values by key, owned (the file need not stay open).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/json.h"

namespace tenon {

/// The numbers are those of the file format.
enum class GgufType : std::uint32_t {
  kUInt8,
  kInt8,
  kUInt16,
  kInt16,
  kUInt32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,
  kUInt64,
  kInt64,
  kFloat64,
};

/// "uint8", …, "string", "array"
const char* to_string(GgufType type) noexcept;

/// Bytes of one scalar in a file; 0 for strings and arrays.
std::uint64_t gguf_scalar_bytes(GgufType type) noexcept;

struct GgufArray;

class GgufValue {
 public:
  using Number = std::variant<std::uint64_t, std::int64_t, double, bool>;

  GgufValue(GgufType type, Number number) : type_(type), number_(number) {}
  explicit GgufValue(std::string text)
      : type_(GgufType::kString), data_(std::make_shared<const std::string>(std::move(text))) {}
  explicit GgufValue(GgufArray array);

  GgufType type() const { return type_; }
  bool is_string() const { return type_ == GgufType::kString; }
  bool is_array() const { return type_ == GgufType::kArray; }
  std::uint64_t size() const;  ///< elements of an array, else 1

  /// Each throws Error{kCorrupt} "`what`: expected …, got …" when the value is of another kind.
  /// Integers of every width are one kind; as_double() takes them too.
  bool as_bool(std::string_view what) const;
  std::int64_t as_int(std::string_view what) const;
  double as_double(std::string_view what) const;
  const std::string& as_string(std::string_view what) const;
  const std::vector<std::string>& as_strings(std::string_view what) const;
  std::vector<std::int64_t> as_ints(std::string_view what) const;  ///< also an array of bools
  std::vector<double> as_doubles(std::string_view what) const;
  const GgufArray& as_array(std::string_view what) const;

  /// Bytes that are not UTF-8 become U+FFFD when it is printed; arrays are cut after `max_items`.
  Json to_json(std::uint64_t max_items = UINT64_MAX) const;

 private:
  std::string kind() const;

  GgufType type_;
  Number number_ = std::uint64_t{0};
  std::shared_ptr<const void> data_;  // std::string or GgufArray, as type_ says
};

struct GgufArray {
  GgufType element = GgufType::kUInt8;
  std::string scalars;               ///< raw little-endian elements, where element is a scalar
  std::vector<std::string> strings;  ///< where element is kString
  std::vector<GgufValue> arrays;     ///< where element is kArray

  std::uint64_t size() const;
  GgufValue at(std::uint64_t index) const;
};

/// A scalar of `type` from its bytes in a file.
GgufValue gguf_scalar(GgufType type, const char* bytes);

class GgufMetadata {
 public:
  using Member = std::pair<std::string, GgufValue>;

  /// In the file's order.
  const std::vector<Member>& members() const { return members_; }
  /// Null where the key is missing.
  const GgufValue* find(std::string_view key) const;
  /// Throws Error{kCorrupt} naming the key and the file where it is missing.
  const GgufValue& at(std::string_view key, std::string_view where) const;
  /// False where the key is there already.
  bool add(std::string key, GgufValue value);

 private:
  std::vector<Member> members_;
  std::map<std::string, std::size_t, std::less<>> index_;
};

}  // namespace tenon
