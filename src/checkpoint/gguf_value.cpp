// Typed GGUF values; see gguf_value.h.
// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/gguf_value.h"

#include <array>
#include <cstring>

#include "core/check.h"

namespace tenon {
namespace {

constexpr std::array<const char*, 13> kNames = {"uint8",  "int8",    "uint16", "int16",  "uint32",
                                                "int32",  "float32", "bool",   "string", "array",
                                                "uint64", "int64",   "float64"};
constexpr std::array<std::uint64_t, 13> kBytes = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

template <class T>
T load(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

GgufValue::Number number(GgufType type, const char* bytes) {
  switch (type) {
    case GgufType::kUInt8: return std::uint64_t{load<std::uint8_t>(bytes)};
    case GgufType::kInt8: return std::int64_t{load<std::int8_t>(bytes)};
    case GgufType::kUInt16: return std::uint64_t{load<std::uint16_t>(bytes)};
    case GgufType::kInt16: return std::int64_t{load<std::int16_t>(bytes)};
    case GgufType::kUInt32: return std::uint64_t{load<std::uint32_t>(bytes)};
    case GgufType::kInt32: return std::int64_t{load<std::int32_t>(bytes)};
    case GgufType::kFloat32: return double{load<float>(bytes)};
    case GgufType::kBool: return load<std::uint8_t>(bytes) != 0;
    case GgufType::kUInt64: return load<std::uint64_t>(bytes);
    case GgufType::kInt64: return load<std::int64_t>(bytes);
    case GgufType::kFloat64: return load<double>(bytes);
    case GgufType::kString:
    case GgufType::kArray: break;
  }
  TENON_ASSERT(false);
  return std::uint64_t{0};
}

}  // namespace

const char* to_string(GgufType type) noexcept { return kNames[static_cast<std::size_t>(type)]; }

std::uint64_t gguf_scalar_bytes(GgufType type) noexcept {
  return kBytes[static_cast<std::size_t>(type)];
}

GgufValue gguf_scalar(GgufType type, const char* bytes) { return {type, number(type, bytes)}; }

std::uint64_t GgufArray::size() const {
  if (element == GgufType::kString) return strings.size();
  if (element == GgufType::kArray) return arrays.size();
  return scalars.size() / gguf_scalar_bytes(element);
}

GgufValue GgufArray::at(std::uint64_t index) const {
  TENON_ASSERT(index < size());
  if (element == GgufType::kString) return GgufValue(strings[index]);
  if (element == GgufType::kArray) return arrays[index];
  return gguf_scalar(element, scalars.data() + index * gguf_scalar_bytes(element));
}

GgufValue::GgufValue(GgufArray array)
    : type_(GgufType::kArray), data_(std::make_shared<const GgufArray>(std::move(array))) {}

std::string GgufValue::kind() const {
  if (!is_array()) return to_string(type_);
  return std::string("an array of ") + to_string(as_array("").element);
}

std::uint64_t GgufValue::size() const { return is_array() ? as_array("").size() : 1; }

bool GgufValue::as_bool(std::string_view what) const {
  TENON_CHECK(type_ == GgufType::kBool, ErrorCode::kCorrupt, "{}: expected a bool, got {}", what,
              kind());
  return std::get<bool>(number_);
}

std::int64_t GgufValue::as_int(std::string_view what) const {
  if (const auto* value = std::get_if<std::int64_t>(&number_)) return *value;
  const auto* value = std::get_if<std::uint64_t>(&number_);
  TENON_CHECK(value != nullptr && !is_array() && !is_string(), ErrorCode::kCorrupt,
              "{}: expected an integer, got {}", what, kind());
  TENON_CHECK(*value <= INT64_MAX, ErrorCode::kCorrupt, "{}: {} is more than 2^63", what, *value);
  return static_cast<std::int64_t>(*value);
}

double GgufValue::as_double(std::string_view what) const {
  TENON_CHECK(type_ != GgufType::kBool && !is_array() && !is_string(), ErrorCode::kCorrupt,
              "{}: expected a number, got {}", what, kind());
  return std::visit([](auto value) { return static_cast<double>(value); }, number_);
}

const std::string& GgufValue::as_string(std::string_view what) const {
  TENON_CHECK(is_string(), ErrorCode::kCorrupt, "{}: expected a string, got {}", what, kind());
  return *static_cast<const std::string*>(data_.get());
}

const GgufArray& GgufValue::as_array(std::string_view what) const {
  TENON_CHECK(is_array(), ErrorCode::kCorrupt, "{}: expected an array, got {}", what, kind());
  return *static_cast<const GgufArray*>(data_.get());
}

const std::vector<std::string>& GgufValue::as_strings(std::string_view what) const {
  const GgufArray& array = as_array(what);
  TENON_CHECK(array.element == GgufType::kString || array.size() == 0, ErrorCode::kCorrupt,
              "{}: expected an array of strings, got {}", what, kind());
  return array.strings;
}

std::vector<std::int64_t> GgufValue::as_ints(std::string_view what) const {
  const GgufArray& array = as_array(what);
  std::vector<std::int64_t> values;
  values.reserve(array.size());
  for (std::uint64_t i = 0; i < array.size(); ++i) {
    const GgufValue value = array.at(i);
    values.push_back(value.type() == GgufType::kBool ? std::int64_t{value.as_bool(what)}
                                                     : value.as_int(what));
  }
  return values;
}

std::vector<double> GgufValue::as_doubles(std::string_view what) const {
  const GgufArray& array = as_array(what);
  std::vector<double> values;
  values.reserve(array.size());
  for (std::uint64_t i = 0; i < array.size(); ++i) values.push_back(array.at(i).as_double(what));
  return values;
}

Json GgufValue::to_json(std::uint64_t max_items) const {
  if (is_string()) return Json(as_string(""));
  if (is_array()) {
    Json::Array items;
    const GgufArray& array = as_array("");
    for (std::uint64_t i = 0; i < array.size() && i < max_items; ++i)
      items.push_back(array.at(i).to_json(max_items));
    return Json(std::move(items));
  }
  return std::visit([](auto value) { return Json(value); }, number_);
}

const GgufValue* GgufMetadata::find(std::string_view key) const {
  const auto found = index_.find(key);
  return found == index_.end() ? nullptr : &members_[found->second].second;
}

const GgufValue& GgufMetadata::at(std::string_view key, std::string_view where) const {
  const GgufValue* value = find(key);
  TENON_CHECK(value != nullptr, ErrorCode::kCorrupt, "{}: the metadata lacks \"{}\"", where, key);
  return *value;
}

bool GgufMetadata::add(std::string key, GgufValue value) {
  if (!index_.emplace(key, members_.size()).second) return false;
  members_.emplace_back(std::move(key), std::move(value));
  return true;
}

}  // namespace tenon
