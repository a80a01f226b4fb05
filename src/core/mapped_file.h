// A file mapped read-only. Every access is checked against its size.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string_view>

namespace tenon {

class MappedFile {
 public:
  /// Throws Error{kNotFound} or Error{kIo}. An empty file maps to an empty span.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::span<const std::byte> bytes() const { return bytes_; }
  std::string_view text() const;

  /// bytes()[offset, offset + length); throws Error{kCorrupt} naming `what` where it passes the
  /// end.
  std::span<const std::byte> part(std::uint64_t offset, std::uint64_t length,
                                  std::string_view what) const;

  /// Tells the kernel that these bytes are not needed soon (they stay valid): keeps a conversion's
  /// resident memory small.
  void drop(std::span<const std::byte> part) const;

 private:
  MappedFile() = default;
  std::filesystem::path path_;
  std::span<const std::byte> bytes_;
};

}  // namespace tenon
