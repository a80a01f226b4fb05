// ContentMemo: hashes of whole files, remembered by what the file system says of them, so that 16
// GB are read once and not at every start. A small text file that is remade where it is damaged.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace tenon {

class ContentMemo {
 public:
  /// Reads `file`; a missing or damaged one is an empty memo. A model's file that was changed less
  /// than `settled` ago is hashed but not remembered: it might change again within the resolution
  /// of the file system's clock.
  explicit ContentMemo(std::filesystem::path file,
                       std::chrono::nanoseconds settled = std::chrono::seconds(2));

  /// hash_file() of `path`, or what is remembered of the same device, inode, size, time of
  /// modification and time of change (which no user can set back). Throws Error{kIo} where the file
  /// changes meanwhile.
  std::string hash(const std::filesystem::path& path);

  /// Writes what was learnt, joined with what others wrote since; the kMaxEntries used last stay.
  void save();

  std::int64_t files_read() const { return files_read_; }
  std::int64_t bytes_read() const { return bytes_read_; }

  static constexpr std::size_t kMaxEntries = 1024;

 private:
  struct Entry {
    std::string identity;  ///< "device inode size mtime ctime", times in nanoseconds
    std::string hash;
  };
  static std::vector<Entry> read(const std::filesystem::path& file);

  std::filesystem::path file_;
  std::chrono::nanoseconds settled_;
  std::vector<Entry> entries_;  ///< as they were read
  std::vector<Entry> used_;     ///< asked for since, least recently first
  bool learnt_ = false;
  std::int64_t files_read_ = 0;
  std::int64_t bytes_read_ = 0;
};

}  // namespace tenon
