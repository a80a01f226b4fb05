// SPDX-License-Identifier: Apache-2.0
#include "models/config_reader.h"

#include "core/check.h"
#include "core/nearest_name.h"

namespace tenon {

ConfigReader::ConfigReader(const Json& object, std::string where)
    : object_(object), where_(std::move(where)) {
  object_.as_object(where_);
}

bool ConfigReader::has(std::string_view key) const {
  const Json* value = object_.find(key);
  return value != nullptr && !value->is_null();
}

const Json* ConfigReader::raw(const char* key) {
  understood_.insert(key);
  return has(key) ? object_.find(key) : nullptr;
}

const Json& ConfigReader::required(const char* key) {
  const Json* value = raw(key);
  TENON_CHECK(value != nullptr, ErrorCode::kCorrupt, "{}: the key \"{}\" is missing", where_, key);
  return *value;
}

std::int64_t ConfigReader::integer(const char* key) { return required(key).as_int(what(key)); }
double ConfigReader::number(const char* key) { return required(key).as_double(what(key)); }

std::int64_t ConfigReader::integer(const char* key, std::int64_t fallback) {
  const Json* value = raw(key);
  return value != nullptr ? value->as_int(what(key)) : fallback;
}

double ConfigReader::number(const char* key, double fallback) {
  const Json* value = raw(key);
  return value != nullptr ? value->as_double(what(key)) : fallback;
}

bool ConfigReader::boolean(const char* key, bool fallback) {
  const Json* value = raw(key);
  return value != nullptr ? value->as_bool(what(key)) : fallback;
}

std::string ConfigReader::text(const char* key, std::string_view fallback) {
  const Json* value = raw(key);
  return value != nullptr ? value->as_string(what(key)) : std::string(fallback);
}

std::vector<std::int64_t> ConfigReader::integers(const char* key) {
  const Json* value = raw(key);
  if (value == nullptr) return {};
  if (!value->is_array()) return {value->as_int(what(key))};
  std::vector<std::int64_t> values;
  for (const Json& element : value->as_array(what(key)))
    values.push_back(element.as_int(what(key)));
  return values;
}

std::vector<double> ConfigReader::numbers(const char* key) {
  const Json* value = raw(key);
  std::vector<double> values;
  if (value == nullptr) return values;
  for (const Json& element : value->as_array(what(key)))
    values.push_back(element.as_double(what(key)));
  return values;
}

std::vector<std::string> ConfigReader::texts(const char* key) {
  const Json* value = raw(key);
  std::vector<std::string> values;
  if (value == nullptr) return values;
  for (const Json& element : value->as_array(what(key)))
    values.push_back(element.as_string(what(key)));
  return values;
}

void ConfigReader::ignore(std::span<const char* const> keys) {
  for (const char* key : keys) understood_.insert(key);
}

void ConfigReader::require_neutral(std::span<const NeutralKey> keys) {
  for (const NeutralKey& entry : keys) {
    if (understood_.contains(entry.key)) continue;  // the family reads it itself
    const Json* value = raw(entry.key);
    if (value == nullptr || *value == entry.neutral) continue;
    if (value->is_number() && entry.neutral.is_number() &&
        value->as_double(entry.key) == entry.neutral.as_double(entry.key))
      continue;
    fail(ErrorCode::kUnsupported,
         "{}: \"{}\" is {}, which changes what the model computes and is not supported yet{}",
         where_, entry.key, value->is_object() ? "set" : value->dump(),
         entry.neutral.is_null() ? "" : "; only " + entry.neutral.dump() + " is");
  }
}

void ConfigReader::finish() const {
  const std::vector<std::string> known(understood_.begin(), understood_.end());
  std::string unknown;
  for (const auto& [key, value] : object_.as_object(where_)) {
    if (value.is_null() || understood_.contains(key)) continue;
    unknown +=
        fmt::format("{}\"{}\"{}", unknown.empty() ? "" : ", ", key, did_you_mean(key, known));
  }
  TENON_CHECK(unknown.empty(), ErrorCode::kUnsupported,
              "{}: unknown key {}: it may change what the model computes, so that the model is not "
              "run without it; remove it from the file if it does not matter",
              where_, unknown);
}

}  // namespace tenon
