// SPDX-License-Identifier: Apache-2.0
#include "models/gguf_reader.h"

#include <algorithm>

#include "core/check.h"
#include "core/nearest_name.h"

namespace tenon {

GgufReader::GgufReader(const GgufMetadata& metadata, std::string_view architecture,
                       std::string where)
    : metadata_(metadata), prefix_(std::string(architecture) + "."), where_(std::move(where)) {}

std::string GgufReader::what(std::string_view key) const {
  return fmt::format("{}: {}{}", where_, prefix_, key);
}

bool GgufReader::has(std::string_view key) const {
  return metadata_.find(prefix_ + std::string(key)) != nullptr;
}

const GgufValue* GgufReader::find(std::string_view key) {
  understood_.emplace(prefix_ + std::string(key));
  return metadata_.find(prefix_ + std::string(key));
}

const GgufValue& GgufReader::required(std::string_view key) {
  const GgufValue* value = find(key);
  TENON_CHECK(value != nullptr, ErrorCode::kCorrupt, "{}: the key \"{}{}\" is missing", where_,
              prefix_, key);
  return *value;
}

std::int64_t GgufReader::integer(std::string_view key) { return required(key).as_int(what(key)); }
double GgufReader::number(std::string_view key) { return required(key).as_double(what(key)); }

std::int64_t GgufReader::integer(std::string_view key, std::int64_t fallback) {
  const GgufValue* value = find(key);
  return value != nullptr ? value->as_int(what(key)) : fallback;
}

double GgufReader::number(std::string_view key, double fallback) {
  const GgufValue* value = find(key);
  return value != nullptr ? value->as_double(what(key)) : fallback;
}

std::string GgufReader::text(std::string_view key, std::string_view fallback) {
  const GgufValue* value = find(key);
  return value != nullptr ? value->as_string(what(key)) : std::string(fallback);
}

std::int64_t GgufReader::per_layer(std::string_view key) {
  const GgufValue& value = required(key);
  if (!value.is_array()) return value.as_int(what(key));
  const std::vector<std::int64_t> values = value.as_ints(what(key));
  TENON_CHECK(!values.empty(), ErrorCode::kCorrupt, "{} is an empty list", what(key));
  TENON_CHECK(std::all_of(values.begin(), values.end(),
                          [&](std::int64_t other) { return other == values.front(); }),
              ErrorCode::kUnsupported, "{}: layers that differ in it are not supported", what(key));
  return values.front();
}

std::int64_t GgufReader::per_layer(std::string_view key, std::int64_t fallback) {
  return has(key) ? per_layer(key) : integer(key, fallback);
}

void GgufReader::ignore(std::span<const char* const> keys) {
  for (const char* key : keys) understood_.emplace(prefix_ + key);
}

void GgufReader::finish() const {
  const std::vector<std::string> known(understood_.begin(), understood_.end());
  std::string unknown;
  for (const auto& [key, value] : metadata_.members()) {
    if (!key.starts_with(prefix_) || understood_.contains(key)) continue;
    unknown +=
        fmt::format("{}\"{}\"{}", unknown.empty() ? "" : ", ", key, did_you_mean(key, known));
  }
  TENON_CHECK(unknown.empty(), ErrorCode::kUnsupported,
              "{}: unknown key {}: it may change what the model computes, so that the model is not "
              "run without it",
              where_, unknown);
}

}  // namespace tenon
