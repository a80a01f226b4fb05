// SwapSpace: swapped blocks of one cache group, in memory and in a file.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "backends/swap_file.h"

namespace tenon::cpu {

class SwapSpace {
 public:
  /// Blocks [0, host_blocks) in memory, [host_blocks, host_blocks + disk_blocks) in a file in
  /// `directory`. Throws what SwapFile() throws.
  SwapSpace(std::int64_t host_blocks, std::int64_t disk_blocks, std::int64_t block_bytes,
            const std::string& directory);

  std::int64_t blocks() const { return host_blocks_ + disk_blocks_; }

  /// Part of a block, from `offset` on. Throws Error{kIo}.
  void store(std::int64_t block, std::int64_t offset, const std::byte* source, std::int64_t bytes);
  void load(std::int64_t block, std::int64_t offset, std::byte* destination, std::int64_t bytes);
  void move(std::int64_t source, std::int64_t destination);

 private:
  std::byte* in_memory(std::int64_t block) const {
    return block < host_blocks_ ? memory_.get() + block * block_bytes_ : nullptr;
  }

  std::int64_t host_blocks_;
  std::int64_t disk_blocks_;
  std::int64_t block_bytes_;
  std::shared_ptr<std::byte> memory_;
  SwapFile file_;
};

}  // namespace tenon::cpu
