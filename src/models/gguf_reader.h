// GgufReader: the metadata keys of one architecture ("llama.…"), read key by key; a key below the
// architecture that nobody understood is an error, as in ConfigReader.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "checkpoint/gguf_value.h"

namespace tenon {

class GgufReader {
 public:
  /// Keys are given without the architecture and its dot. `metadata` must outlive the reader.
  GgufReader(const GgufMetadata& metadata, std::string_view architecture, std::string where);

  const std::string& where() const { return where_; }
  const GgufMetadata& metadata() const { return metadata_; }
  bool has(std::string_view key) const;

  // Each marks its key as understood. Without a fallback the key must be there: Error{kCorrupt}.
  std::int64_t integer(std::string_view key);
  std::int64_t integer(std::string_view key, std::int64_t fallback);
  double number(std::string_view key);
  double number(std::string_view key, double fallback);
  std::string text(std::string_view key, std::string_view fallback);
  /// A number, or a list with one for each layer that are all the same. Throws Error{kUnsupported}
  /// where they differ.
  std::int64_t per_layer(std::string_view key);
  std::int64_t per_layer(std::string_view key, std::int64_t fallback);

  void ignore(std::span<const char* const> keys);
  /// Throws Error{kUnsupported} listing the architecture's keys that nothing asked for.
  void finish() const;

 private:
  const GgufValue* find(std::string_view key);
  const GgufValue& required(std::string_view key);
  std::string what(std::string_view key) const;

  const GgufMetadata& metadata_;
  std::string prefix_;
  std::string where_;
  std::set<std::string, std::less<>> understood_;
};

}  // namespace tenon
