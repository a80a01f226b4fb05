// Reading safetensors; see safetensors.h.
// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <tuple>

#include "core/check.h"
#include "core/json.h"

namespace tenon {
namespace {

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit

constexpr std::array<const char*, 15> kTypeNames = {"F32",     "F16", "BF16", "F64", "F8_E4M3",
                                                    "F8_E5M2", "I8",  "U8",   "I16", "U16",
                                                    "I32",     "U32", "I64",  "U64", "BOOL"};

DataType parse_type(const std::string& name, const std::string& what) {
  for (std::size_t i = 0; i < kTypeNames.size(); ++i)
    if (name == kTypeNames[i]) return static_cast<DataType>(i);
  fail(ErrorCode::kUnsupported,
       "{}: element type \"{}\" is not supported; expected one of F64, F32, "
       "F16, BF16, F8_E4M3, F8_E5M2, I8 … I64, U8 … U64, BOOL",
       what, name);
}

std::int64_t natural(const Json& value, const std::string& what) {
  TENON_CHECK(value.is_int() && value.as_int(what) >= 0, ErrorCode::kCorrupt,
              "{}: expected whole numbers from 0 to 2^63, got {}", what,
              value.dump().substr(0, 40));
  return value.as_int(what);
}

/// One tensor's record; `offset` becomes relative to the data.
SafetensorsEntry parse_entry(const std::string& name, const Json& record, std::string_view where) {
  const std::string what = std::string(where) + ": tensor \"" + name + "\"";
  SafetensorsEntry entry;
  entry.name = name;
  const Json* shape = nullptr;
  const Json* offsets = nullptr;
  const Json* type = nullptr;
  for (const auto& [key, value] : record.as_object(what)) {
    if (key == "dtype")
      type = &value;
    else if (key == "shape")
      shape = &value;
    else if (key == "data_offsets")
      offsets = &value;
    else
      fail(ErrorCode::kCorrupt, "{}: unknown field \"{}\"", what, key);
  }
  TENON_CHECK(type != nullptr && shape != nullptr && offsets != nullptr, ErrorCode::kCorrupt,
              "{}: expected the fields dtype, shape and data_offsets", what);
  entry.type = parse_type(type->as_string(what + ".dtype"), what);
  for (const Json& extent : shape->as_array(what + ".shape"))
    entry.shape.push_back(natural(extent, what + ".shape"));
  const Json::Array& pair = offsets->as_array(what + ".data_offsets");
  TENON_CHECK(pair.size() == 2, ErrorCode::kCorrupt, "{}: expected two data_offsets, got {}", what,
              pair.size());
  const std::int64_t begin = natural(pair[0], what + ".data_offsets");
  const std::int64_t end = natural(pair[1], what + ".data_offsets");
  const std::int64_t expected = byte_count(entry.type, entry.shape, what);
  TENON_CHECK(begin <= end && end - begin == expected, ErrorCode::kCorrupt,
              "{}: {} of shape {} takes {} bytes, but its data_offsets are {} … {}", what,
              kTypeNames[static_cast<std::size_t>(entry.type)], to_string(entry.shape), expected,
              begin, end);
  entry.offset = static_cast<std::uint64_t>(begin);
  entry.bytes = static_cast<std::uint64_t>(expected);
  return entry;
}

/// The format allows neither holes nor overlaps, and the last tensor ends the file.
void check_layout(const std::vector<SafetensorsEntry>& sorted, std::uint64_t data_bytes,
                  std::string_view where) {
  std::uint64_t position = 0;
  for (const SafetensorsEntry& entry : sorted) {
    TENON_CHECK(
        entry.offset == position, ErrorCode::kCorrupt,
        "{}: tensor \"{}\" starts at byte {} of the data, but the one before it ends at {}; "
        "the format allows no {}",
        where, entry.name, entry.offset, position, entry.offset < position ? "overlap" : "hole");
    position += entry.bytes;  // no overflow: each stays below 2^63 and is checked to be in the file
    TENON_CHECK(
        position <= data_bytes, ErrorCode::kCorrupt,
        "{}: tensor \"{}\" ends at byte {} of the data, but the file has only {}; it is cut "
        "short or damaged",
        where, entry.name, position, data_bytes);
  }
  TENON_CHECK(position == data_bytes, ErrorCode::kCorrupt,
              "{}: {} bytes follow the last tensor; the file is damaged", where,
              data_bytes - position);
}

SafetensorsMetadata parse_metadata(const Json& value, std::string_view where) {
  SafetensorsMetadata metadata;
  const std::string what = std::string(where) + ": __metadata__";
  for (const auto& [key, text] : value.as_object(what))
    metadata.emplace_back(key, text.as_string(what + "." + key));
  return metadata;
}

}  // namespace

const char* safetensors_type_name(DataType type) noexcept {
  return kTypeNames[static_cast<std::size_t>(type)];
}

SafetensorsHeader parse_safetensors(std::span<const std::byte> file, std::string_view where) {
  static_assert(std::endian::native == std::endian::little);
  TENON_CHECK(file.size() >= 8, ErrorCode::kCorrupt,
              "{}: {} bytes is too short for a safetensors file; it is cut short", where,
              file.size());
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), 8);
  TENON_CHECK(
      length <= kMaxHeaderBytes, ErrorCode::kCorrupt,
      "{}: claims a header of {} bytes, more than the format's {}; is it a safetensors file?",
      where, length, kMaxHeaderBytes);
  TENON_CHECK(length <= file.size() - 8, ErrorCode::kCorrupt,
              "{}: claims a header of {} bytes, but the file has only {}; it is cut short", where,
              length, file.size());
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + 8, length);
  const Json json = Json::parse(text, std::string(where) + " (header)",
                                {.max_depth = 8, .max_bytes = kMaxHeaderBytes});
  SafetensorsHeader header;
  header.data_offset = 8 + length;
  for (const auto& [name, record] : json.as_object(where)) {
    if (name == "__metadata__")
      header.metadata = parse_metadata(record, where);
    else
      header.tensors.push_back(parse_entry(name, record, where));
  }
  std::ranges::sort(header.tensors, {}, [](const SafetensorsEntry& entry) {
    return std::tuple(entry.offset, entry.bytes);
  });
  check_layout(header.tensors, file.size() - header.data_offset, where);
  for (SafetensorsEntry& entry : header.tensors) entry.offset += header.data_offset;
  return header;
}

std::unique_ptr<SafetensorsFile> SafetensorsFile::open(const std::filesystem::path& path) {
  std::unique_ptr<SafetensorsFile> source(new SafetensorsFile);
  source->file_ = MappedFile::open(path);
  source->header_ = parse_safetensors(source->file_->bytes(), path.string());
  for (const SafetensorsEntry& entry : source->header_.tensors)
    source->add({.name = entry.name,
                 .shape = entry.shape,
                 .spec = QuantSpec::floating(entry.type),
                 .file = path,
                 .bytes = entry.bytes,
                 .stored_type = safetensors_type_name(entry.type)});
  return source;
}

QuantizedTensor SafetensorsFile::load_at(std::size_t index) const {
  const SafetensorsEntry& entry = header_.tensors[index];
  return plain_tensor(entry.type, entry.shape, file_->part(entry.offset, entry.bytes, entry.name),
                      file_);
}

void SafetensorsFile::drop_at(std::size_t index) const {
  const SafetensorsEntry& entry = header_.tensors[index];
  file_->drop(file_->part(entry.offset, entry.bytes, entry.name));
}

}  // namespace tenon
