// The directory of a zip archive whose entries are stored as they are (PyTorch writes them so, to
// be mapped). Zip64; every offset is checked; compressed or encrypted entries are refused.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

namespace tenon {

struct ZipEntry {
  std::uint64_t offset = 0;  ///< of the data, from the start of the file
  std::uint64_t bytes = 0;
};

using ZipDirectory = std::map<std::string, ZipEntry, std::less<>>;

/// True where `file` starts like a zip archive.
bool is_zip(std::span<const std::byte> file);

/// All entries of a whole archive in memory; `where` names it in errors. Throws Error{kCorrupt} or
/// Error{kUnsupported}.
ZipDirectory read_zip_directory(std::span<const std::byte> file, std::string_view where);

}  // namespace tenon
