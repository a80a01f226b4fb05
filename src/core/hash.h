// Content hashes (XXH3): checksums in engine files, keys of caches. Not for secrets.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace tenon {

std::uint64_t hash64(std::span<const std::byte> bytes, std::uint64_t seed = 0);

/// 128-bit hash of everything added, as 32 hexadecimal digits.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher& add(std::span<const std::byte> bytes);
  Hasher& add(std::string_view text);  ///< with its length, so that parts cannot run together
  Hasher& add(std::uint64_t value);
  std::string hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// 128-bit hash of a file's whole content, as 32 hexadecimal digits: of its length and the hashes
/// of its pieces of 16 MiB, which `threads` (0: one a core) read at once. Throws Error{kNotFound}
/// or Error{kIo}.
std::string hash_file(const std::filesystem::path& path, int threads = 0);

}  // namespace tenon
