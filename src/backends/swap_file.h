// SwapFile: swapped blocks of one cache group in a file that ends with the process. The file's room
// is taken when it is made: a disk that is full is an error then, not in a step.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace tenon {

class SwapFile {
 public:
  /// Room for `blocks` in `directory`; of none, no file. Throws Error{kInvalidArgument} where there
  /// is no directory for them, Error{kIo} where the file cannot be made or has no room.
  SwapFile(std::int64_t blocks, std::int64_t block_bytes, const std::string& directory);
  ~SwapFile();
  SwapFile(const SwapFile&) = delete;
  SwapFile& operator=(const SwapFile&) = delete;

  /// Part of a block, from `offset` on. From any thread. Throws Error{kIo}.
  void store(std::int64_t block, std::int64_t offset, const std::byte* source,
             std::int64_t bytes) const;
  void load(std::int64_t block, std::int64_t offset, std::byte* destination,
            std::int64_t bytes) const;

 private:
  /// Where the part begins in the file; it is inside.
  std::int64_t at(std::int64_t block, std::int64_t offset, std::int64_t bytes) const;

  std::int64_t blocks_;
  std::int64_t block_bytes_;
  std::string directory_;
  int file_ = -1;
};

}  // namespace tenon
