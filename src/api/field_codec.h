// Values as bytes between a program and its worker process: the same machine, the same version of
// Tenon, so the layout is the compiler's. One function fields() a struct names its fields for both
// directions (worker_messages.cpp). The reader takes its bytes for hostile: whoever wrote them may
// have been dying.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/check.h"

namespace tenon {

/// `Value` is `Of`, const or not: what fields() takes.
template <class Value, class Of>
concept Like = std::same_as<std::remove_const_t<Value>, Of>;

template <class Value>
concept Plain = std::is_arithmetic_v<Value> && !std::same_as<Value, bool>;

class FieldWriter {
 public:
  template <class... Values>
  void operator()(const Values&... values) {
    (put(values), ...);
  }
  std::span<const std::byte> bytes() const { return bytes_; }
  void clear() { bytes_.clear(); }

  void put_bytes(const void* from, std::size_t count) {
    const auto* begin = static_cast<const std::byte*>(from);
    bytes_.insert(bytes_.end(), begin, begin + count);
  }

 private:
  template <Plain Value>
  void put(Value value) {
    put_bytes(&value, sizeof(value));
  }
  void put(bool value) { put(static_cast<std::uint8_t>(value)); }
  template <class Value>
    requires std::is_enum_v<Value>
  void put(Value value) {
    put(static_cast<std::underlying_type_t<Value>>(value));
  }
  void put(const std::string& text) {
    put(static_cast<std::uint64_t>(text.size()));
    put_bytes(text.data(), text.size());
  }
  template <class Value>
  void put(const std::vector<Value>& values) {
    put(static_cast<std::uint64_t>(values.size()));
    if constexpr (Plain<Value>)
      put_bytes(values.data(), values.size() * sizeof(Value));
    else
      for (const Value& value : values) put(value);
  }
  template <class Value>
  void put(const std::set<Value>& values) {
    put(static_cast<std::uint64_t>(values.size()));
    for (const Value& value : values) put(value);
  }
  template <class Value>
  void put(const std::optional<Value>& value) {
    put(value.has_value());
    if (value) put(*value);
  }
  template <class First, class Second>
  void put(const std::pair<First, Second>& values) {
    put(values.first);
    put(values.second);
  }
  template <class Value>
    requires std::is_class_v<Value>
  void put(const Value& value) {
    fields(*this, value);
  }

  std::vector<std::byte> bytes_;
};

/// Throws Error{kCorrupt} where the bytes end too early or hold what no writer wrote.
class FieldReader {
 public:
  explicit FieldReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <class... Values>
  void operator()(Values&... values) {
    (get(values), ...);
  }
  std::span<const std::byte> take_bytes(std::uint64_t count) {
    TENON_CHECK(count <= bytes_.size(), ErrorCode::kCorrupt,
                "[worker] a message is damaged: {} bytes wanted, {} left", count, bytes_.size());
    const auto taken = bytes_.first(static_cast<std::size_t>(count));
    bytes_ = bytes_.subspan(taken.size());
    return taken;
  }
  /// Nothing may be left.
  void finish() const {
    TENON_CHECK(bytes_.empty(), ErrorCode::kCorrupt,
                "[worker] a message is damaged: {} bytes too long", bytes_.size());
  }

 private:
  /// Of elements of at least `least` bytes each.
  std::size_t count(std::size_t least) {
    std::uint64_t count = 0;
    get(count);
    TENON_CHECK(count <= bytes_.size() / least, ErrorCode::kCorrupt,
                "[worker] a message is damaged: {} elements in {} bytes", count, bytes_.size());
    return static_cast<std::size_t>(count);
  }
  template <Plain Value>
  void get(Value& value) {
    std::memcpy(&value, take_bytes(sizeof(value)).data(), sizeof(value));
  }
  void get(bool& value) {
    std::uint8_t byte = 0;
    get(byte);
    TENON_CHECK(byte <= 1, ErrorCode::kCorrupt, "[worker] a message is damaged: a bool of {}",
                byte);
    value = byte == 1;
  }
  template <class Value>
    requires std::is_enum_v<Value>
  void get(Value& value) {
    std::underlying_type_t<Value> number{};
    get(number);
    TENON_CHECK(number >= 0 && number <= static_cast<decltype(number)>(last_of(Value{})),
                ErrorCode::kCorrupt, "[worker] a message is damaged: no enumerator {}", number);
    value = static_cast<Value>(number);
  }
  void get(std::string& text) {
    const auto taken = take_bytes(count(1));
    text.assign(reinterpret_cast<const char*>(taken.data()), taken.size());
  }
  template <class Value>
  void get(std::vector<Value>& values) {
    values.clear();
    if constexpr (Plain<Value>) {
      values.resize(count(sizeof(Value)));
      const auto taken = take_bytes(values.size() * sizeof(Value));
      if (!values.empty()) std::memcpy(values.data(), taken.data(), taken.size());
    } else {
      // Grows with what was read: a false count takes no memory.
      for (std::size_t left = count(1); left > 0; --left) get(values.emplace_back());
    }
  }
  template <class Value>
  void get(std::set<Value>& values) {
    values.clear();
    for (std::size_t left = count(1); left > 0; --left) {
      Value value;
      get(value);
      values.insert(std::move(value));
    }
  }
  template <class Value>
  void get(std::optional<Value>& value) {
    bool there = false;
    get(there);
    value.reset();
    if (there) get(value.emplace());
  }
  template <class First, class Second>
  void get(std::pair<First, Second>& values) {
    get(values.first);
    get(values.second);
  }
  template <class Value>
    requires std::is_class_v<Value>
  void get(Value& value) {
    fields(*this, value);
  }

  std::span<const std::byte> bytes_;
};

}  // namespace tenon
