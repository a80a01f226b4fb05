// Files and directories that appear whole or not at all, and locks between processes.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace tenon {

/// Whole content of a small file. Throws Error{kNotFound}, Error{kIo}, or Error{kCorrupt} where it
/// is larger than `max_bytes`.
std::string read_file(const std::filesystem::path& path,
                      std::uint64_t max_bytes = std::uint64_t{1} << 30);

/// Writes beside `path` and renames when whole.
void write_file_atomically(const std::filesystem::path& path, std::string_view content);

/// A file written in sequence; close() reports what the operating system found at the end.
class FileWriter {
 public:
  explicit FileWriter(const std::filesystem::path& path);
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

/// A directory built beside its destination ("NAME.partial-PID") and renamed by commit(); removed
/// where it is destroyed before. An existing destination is replaced only by commit().
class StagedDirectory {
 public:
  explicit StagedDirectory(std::filesystem::path destination);
  ~StagedDirectory();
  StagedDirectory(const StagedDirectory&) = delete;
  StagedDirectory& operator=(const StagedDirectory&) = delete;

  const std::filesystem::path& path() const { return staging_; }
  void commit();

 private:
  std::filesystem::path destination_;
  std::filesystem::path staging_;
  bool committed_ = false;
};

/// Exclusive lock on a file, held until destroyed; waits for another holder.
class FileLock {
 public:
  explicit FileLock(const std::filesystem::path& path);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int file_ = -1;
};

/// `name` taken from a file (an index, a manifest) as a path below `directory`. Throws
/// Error{kCorrupt} where it is absolute, has "..", or is empty.
std::filesystem::path confined_path(const std::filesystem::path& directory, std::string_view name,
                                    std::string_view where);

}  // namespace tenon
