// Reading a zip archive's central directory; see zip_archive.h.
// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/zip_archive.h"

#include <algorithm>
#include <cstring>

#include "checkpoint/byte_reader.h"
#include "core/check.h"

namespace tenon {
namespace {

constexpr std::uint32_t kLocalHeader = 0x04034b50;
constexpr std::uint32_t kCentralHeader = 0x02014b50;
constexpr std::uint32_t kEnd = 0x06054b50;
constexpr std::uint32_t kEnd64 = 0x06064b50;
constexpr std::uint32_t kEnd64Locator = 0x07064b50;
constexpr std::uint64_t kEndBytes = 22;
constexpr std::uint64_t kLocatorBytes = 20;
constexpr std::uint64_t kCentralBytes = 46;

std::uint32_t word_at(std::span<const std::byte> file, std::uint64_t offset) {
  std::uint32_t word = 0;
  std::memcpy(&word, file.data() + offset, sizeof word);
  return word;
}

/// Offset of the end record: the last one whose comment reaches exactly to the end of the file.
std::uint64_t find_end(std::span<const std::byte> file, std::string_view where) {
  const std::uint64_t size = file.size();
  for (std::uint64_t comment = 0; comment <= 0xFFFF && comment + kEndBytes <= size; ++comment) {
    const std::uint64_t offset = size - kEndBytes - comment;
    if (word_at(file, offset) != kEnd) continue;
    std::uint16_t length = 0;
    std::memcpy(&length, file.data() + offset + 20, sizeof length);
    if (length == comment) return offset;
  }
  fail(ErrorCode::kCorrupt, "{}: the zip archive has no directory at its end; it is cut short",
       where);
}

struct Directory {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::uint64_t entries = 0;
};

Directory read_end(std::span<const std::byte> file, std::string_view where) {
  ByteReader reader(file, where);
  const std::uint64_t end = find_end(file, where);
  reader.seek(end + 10, "the zip directory");
  Directory directory;
  directory.entries = reader.number<std::uint16_t>("the zip directory");
  directory.bytes = reader.number<std::uint32_t>("the zip directory");
  directory.offset = reader.number<std::uint32_t>("the zip directory");
  if (end < kLocatorBytes || word_at(file, end - kLocatorBytes) != kEnd64Locator) return directory;
  reader.seek(end - kLocatorBytes + 8, "the zip64 locator");
  const auto end64 = reader.number<std::uint64_t>("the zip64 locator");
  reader.seek(end64, "the zip64 directory");
  TENON_CHECK(reader.number<std::uint32_t>("the zip64 directory") == kEnd64, ErrorCode::kCorrupt,
              "{}: the zip64 directory's end record is damaged", where);
  reader.take(28, "the zip64 directory");
  directory.entries = reader.number<std::uint64_t>("the zip64 directory");
  directory.bytes = reader.number<std::uint64_t>("the zip64 directory");
  directory.offset = reader.number<std::uint64_t>("the zip64 directory");
  return directory;
}

struct Record {
  std::uint16_t flags = 0;
  std::uint16_t method = 0;
  std::uint64_t stored_bytes = 0;
  std::uint64_t bytes = 0;
  std::uint64_t local_offset = 0;
  std::string name;
};

/// Takes the 64-bit values of the zip64 extra field for those that are all ones in the record.
void read_extra(std::span<const std::byte> extra, std::string_view where, Record& record) {
  ByteReader reader(extra, where);
  while (reader.remaining() >= 4) {
    const auto id = reader.number<std::uint16_t>("an extra field");
    const auto length = reader.number<std::uint16_t>("an extra field");
    ByteReader field(reader.take(length, "an extra field"), where);
    if (id != 1) continue;
    for (std::uint64_t* value : {&record.bytes, &record.stored_bytes, &record.local_offset})
      if (*value == 0xFFFFFFFFU) *value = field.number<std::uint64_t>("a zip64 field");
  }
}

Record read_record(ByteReader& reader, std::string_view where) {
  constexpr std::string_view kWhat = "a zip directory entry";
  TENON_CHECK(reader.number<std::uint32_t>(kWhat) == kCentralHeader, ErrorCode::kCorrupt,
              "{}: the zip directory is damaged at byte {} of it", where, reader.position() - 4);
  Record record;
  reader.take(4, kWhat);  // versions
  record.flags = reader.number<std::uint16_t>(kWhat);
  record.method = reader.number<std::uint16_t>(kWhat);
  reader.take(8, kWhat);  // time, date, checksum
  record.stored_bytes = reader.number<std::uint32_t>(kWhat);
  record.bytes = reader.number<std::uint32_t>(kWhat);
  const auto name = reader.number<std::uint16_t>(kWhat);
  const auto extra = reader.number<std::uint16_t>(kWhat);
  const auto comment = reader.number<std::uint16_t>(kWhat);
  reader.take(8, kWhat);  // disk, attributes
  record.local_offset = reader.number<std::uint32_t>(kWhat);
  record.name = reader.text(name, kWhat);
  read_extra(reader.take(extra, kWhat), where, record);
  reader.take(comment, kWhat);
  return record;
}

/// Where the data start, behind the local header, which has name and extra field of its own.
ZipEntry place(std::span<const std::byte> file, const Record& record, std::string_view where) {
  TENON_CHECK((record.flags & 1) == 0 && record.method == 0, ErrorCode::kUnsupported,
              "{}: the entry \"{}\" is {}; only stored entries can be mapped: save the file again "
              "with torch.save",
              where, record.name, record.method != 0 ? "compressed" : "encrypted");
  TENON_CHECK(record.stored_bytes == record.bytes, ErrorCode::kCorrupt,
              "{}: the entry \"{}\" has two sizes, {} and {}", where, record.name,
              record.stored_bytes, record.bytes);
  ByteReader reader(file, where);
  reader.seek(record.local_offset, record.name);
  TENON_CHECK(reader.number<std::uint32_t>(record.name) == kLocalHeader, ErrorCode::kCorrupt,
              "{}: the entry \"{}\" is not where the zip directory says", where, record.name);
  reader.take(22, record.name);
  const auto name = reader.number<std::uint16_t>(record.name);
  const auto extra = reader.number<std::uint16_t>(record.name);
  TENON_CHECK(reader.text(name, record.name) == record.name, ErrorCode::kCorrupt,
              "{}: the entry \"{}\" has another name at its data", where, record.name);
  reader.take(extra, record.name);
  const ZipEntry entry = {reader.position(), record.bytes};
  reader.take(record.bytes, record.name);
  return entry;
}

}  // namespace

bool is_zip(std::span<const std::byte> file) {
  return file.size() >= 4 && word_at(file, 0) == kLocalHeader;
}

ZipDirectory read_zip_directory(std::span<const std::byte> file, std::string_view where) {
  const Directory directory = read_end(file, where);
  TENON_CHECK(directory.offset <= file.size() &&
                  directory.bytes <= file.size() - directory.offset &&
                  directory.entries <= directory.bytes / kCentralBytes,
              ErrorCode::kCorrupt,
              "{}: the zip directory claims {} entries in bytes {} + {} of {}; the file is damaged",
              where, directory.entries, directory.offset, directory.bytes, file.size());
  ByteReader reader(file.subspan(directory.offset, directory.bytes), where);
  ZipDirectory entries;
  for (std::uint64_t i = 0; i < directory.entries; ++i) {
    Record record = read_record(reader, where);
    const ZipEntry entry = place(file, record, where);
    const bool is_new = entries.emplace(std::move(record.name), entry).second;
    TENON_CHECK(is_new, ErrorCode::kCorrupt, "{}: the zip archive has two entries of one name",
                where);
  }
  return entries;
}

}  // namespace tenon
