// SPDX-License-Identifier: Apache-2.0
#include "cli/npy.h"

#include <cstring>
#include <string>

#include "core/check.h"
#include "core/file.h"
#include "core/mapped_file.h"
#include "core/shape.h"

namespace tenon::cli {
namespace {

constexpr std::string_view kMagic{"\x93NUMPY\x01\x00", 8};

void write(const std::filesystem::path& path, const char* type, const Shape& shape,
           std::span<const std::byte> bytes) {
  std::string extents;
  for (const std::int64_t extent : shape) extents += std::to_string(extent) + ",";
  std::string header =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", type, extents);
  header.append(63 - (kMagic.size() + 2 + header.size()) % 64, ' ');
  header += '\n';
  FileWriter writer(path);
  writer.write(kMagic);
  const auto length = static_cast<std::uint16_t>(header.size());
  writer.write(std::as_bytes(std::span(&length, 1)));
  writer.write(header);
  writer.write(bytes);
  writer.close();
}

/// What stands after 'key': in the header, up to the next separator at its level.
std::string_view field(std::string_view header, std::string_view key, std::string_view where) {
  const std::size_t at = header.find(key);
  TENON_CHECK(at != header.npos, ErrorCode::kCorrupt, "{}: no {} in the .npy header", where, key);
  std::string_view rest = header.substr(at + key.size());
  while (!rest.empty() && (rest.front() == ':' || rest.front() == ' ')) rest.remove_prefix(1);
  return rest;
}

Shape parse_shape(std::string_view text, const std::string& where) {
  Shape shape;
  TENON_CHECK(text.starts_with('('), ErrorCode::kCorrupt, "{}: bad shape in the .npy header",
              where);
  std::int64_t value = -1;
  for (const char c : text.substr(1, text.find(')') - 1)) {
    if (c >= '0' && c <= '9') {
      value = (value < 0 ? 0 : value) * 10 + (c - '0');
      TENON_CHECK(value < (std::int64_t{1} << 40), ErrorCode::kCorrupt, "{}: extent too large",
                  where);
    } else if (value >= 0) {
      shape.push_back(value);
      value = -1;
    }
  }
  if (value >= 0) shape.push_back(value);
  TENON_CHECK(shape.size() == 1 || shape.size() == 2, ErrorCode::kCorrupt,
              "{}: {} dimensions; token ids have one or two", where, shape.size());
  // Rows of nothing would cost memory that the file's size does not bound.
  TENON_CHECK(shape.front() > 0 && shape.back() > 0, ErrorCode::kCorrupt,
              "{}: the array {} is empty; expected token ids", where, to_string(shape));
  return shape;
}

template <class T>
void widen(std::span<const std::byte> bytes, std::vector<std::int64_t>& out) {
  for (std::size_t i = 0; i + sizeof(T) <= bytes.size(); i += sizeof(T)) {
    T value;
    std::memcpy(&value, bytes.data() + i, sizeof(T));
    out.push_back(static_cast<std::int64_t>(value));
  }
}

}  // namespace

void write_npy(const std::filesystem::path& path, const Shape& shape,
               std::span<const float> values) {
  write(path, "<f4", shape, std::as_bytes(values));
}

void write_npy(const std::filesystem::path& path, const Shape& shape,
               std::span<const std::int32_t> values) {
  write(path, "<i4", shape, std::as_bytes(values));
}

NpyIds read_npy_ids(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  const std::string where = path.string();
  TENON_CHECK(file->text().starts_with(kMagic), ErrorCode::kCorrupt,
              "{}: not a .npy file of version 1.0", where);
  std::uint16_t length = 0;
  std::memcpy(&length, file->part(kMagic.size(), 2, "the header's length").data(), 2);
  const auto header_bytes = file->part(kMagic.size() + 2, length, "the header");
  const std::string_view header(reinterpret_cast<const char*>(header_bytes.data()), length);
  TENON_CHECK(field(header, "'fortran_order'", where).starts_with("False"), ErrorCode::kUnsupported,
              "{}: the array is in Fortran order; save it in C order", where);
  NpyIds ids;
  ids.shape = parse_shape(field(header, "'shape'", where), where);
  std::string_view descr = field(header, "'descr'", where);
  if (!descr.empty()) descr.remove_prefix(1);  // the quotation mark
  const std::string type(descr.substr(0, 3));
  const DataType width = type == "<i8" || type == "<u8" ? DataType::kInt64 : DataType::kInt32;
  TENON_CHECK(type == "<i4" || type == "<i8" || type == "<u4" || type == "<u8",
              ErrorCode::kUnsupported, "{}: element type {}; token ids are <i4 or <i8", where,
              type);
  const auto bytes = static_cast<std::uint64_t>(byte_count(width, ids.shape, where));
  const auto data = file->part(kMagic.size() + 2 + length, bytes, "the data");
  width == DataType::kInt64 ? widen<std::int64_t>(data, ids.values)
                            : widen<std::int32_t>(data, ids.values);
  return ids;
}

}  // namespace tenon::cli
