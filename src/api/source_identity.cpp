// SPDX-License-Identifier: Apache-2.0
#include "api/source_identity.h"

#include <filesystem>

#include "core/file.h"
#include "core/hash.h"

namespace tenon {

std::string source_identity(const ModelSource& source) {
  constexpr std::uintmax_t kSmall = std::uintmax_t{4} << 20;
  Hasher hasher;
  for (const std::filesystem::path& path : source.files) {
    const std::uintmax_t size = std::filesystem::file_size(path);
    if (size <= kSmall)
      hasher.add(read_file(path));
    else
      hasher.add(size).add(static_cast<std::uint64_t>(
          std::filesystem::last_write_time(path).time_since_epoch().count()));
  }
  return hasher.hex();
}

}  // namespace tenon
