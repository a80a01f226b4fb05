// ConfigReader: one object of a Hugging Face config.json, read key by key. It remembers what was
// asked for, so that a key nobody understood is an error and never a wrong answer.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"

namespace tenon {

/// A key that changes the mathematics, and the one value at which it does not.
struct NeutralKey {
  const char* key;
  Json neutral;
};

/// A key that is null counts as absent everywhere.
class ConfigReader {
 public:
  /// `where` names the file (and the key above, for a nested object). Throws Error{kCorrupt} where
  /// `object` is no object. `object` must outlive the reader.
  ConfigReader(const Json& object, std::string where);

  const std::string& where() const { return where_; }
  bool has(std::string_view key) const;
  /// There, were it null.
  bool given(std::string_view key) const { return object_.find(key) != nullptr; }

  // Each marks its key as understood. Without a fallback the key must be there: Error{kCorrupt}.
  std::int64_t integer(const char* key);
  std::int64_t integer(const char* key, std::int64_t fallback);
  double number(const char* key);
  double number(const char* key, double fallback);
  bool boolean(const char* key, bool fallback);
  std::string text(const char* key, std::string_view fallback);
  /// A list, or one value for a list of one; empty where absent.
  std::vector<std::int64_t> integers(const char* key);
  std::vector<double> numbers(const char* key);
  std::vector<std::string> texts(const char* key);
  /// Null pointer where absent or null.
  const Json* raw(const char* key);

  /// Keys that do not change what the model computes.
  void ignore(std::span<const char* const> keys);
  /// Keys that must be absent, null or of their neutral value. Throws Error{kUnsupported}.
  void require_neutral(std::span<const NeutralKey> keys);
  /// Throws Error{kUnsupported} listing every key that nothing asked for, with the nearest name.
  void finish() const;

 private:
  const Json& required(const char* key);
  std::string what(const char* key) const { return where_ + ": " + key; }

  const Json& object_;
  std::string where_;
  std::set<std::string, std::less<>> understood_;
};

/// Hugging Face's keys that never change a forward pass: bookkeeping, training, generation.
std::span<const char* const> harmless_config_keys();
/// Keys of relatives of our families that change the mathematics and are not supported here.
std::span<const NeutralKey> neutral_config_keys();

}  // namespace tenon
