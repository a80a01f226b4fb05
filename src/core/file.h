// Files that appear whole or not at all, and locks between processes.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace tenon {

/// Whole content of a small file. Throws Error{kNotFound}, Error{kIo}, or Error{kCorrupt} where it
/// is larger than `max_bytes`.
std::string read_file(const std::filesystem::path& path,
                      std::uint64_t max_bytes = std::uint64_t{1} << 30);

/// Writes beside `path` and renames when whole; to a device or a pipe it writes straight. Throws
/// Error{kInvalidArgument} for a directory, else Error{kNotFound} or Error{kIo}.
void write_file_atomically(const std::filesystem::path& path, std::string_view content);

/// A file written in sequence; close() reports what the operating system found at the end.
class FileWriter {
 public:
  explicit FileWriter(const std::filesystem::path& path);
  /// Errors speak of `named`.
  FileWriter(const std::filesystem::path& path, const std::filesystem::path& named);
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  std::uint64_t position() const { return position_; }
  void close();

 private:
  std::filesystem::path path_;
  int file_ = -1;
  std::uint64_t position_ = 0;
};

/// Lock on a file, made where it is missing, held until destroyed. Of the kernel's (flock): it ends
/// with its process, however that ends.
class FileLock {
 public:
  enum class Kind : std::uint8_t { kExclusive, kShared };

  /// Waits for other holders. Throws Error{kIo}.
  explicit FileLock(const std::filesystem::path& path, Kind kind = Kind::kExclusive);
  /// An exclusive lock, or none where someone holds it.
  static std::optional<FileLock> try_exclusive(const std::filesystem::path& path);
  /// Exclusive becomes shared. Others may have come between: false where one of them removed the
  /// file, so that this is a lock on nothing.
  bool share();
  ~FileLock();
  FileLock(FileLock&& other) noexcept : file_(std::exchange(other.file_, -1)) {}
  FileLock& operator=(FileLock&& other) noexcept {
    std::swap(file_, other.file_);
    return *this;
  }
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  FileLock() = default;
  bool acquire(const std::filesystem::path& path, int operation);

  int file_ = -1;
};

/// `name` taken from a file (an index, a manifest) as a path below `directory`. Throws
/// Error{kCorrupt} where it is absolute, has "..", or is empty.
std::filesystem::path confined_path(const std::filesystem::path& directory, std::string_view name,
                                    std::string_view where);

}  // namespace tenon
