// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/swap_space.h"

#include <cstring>
#include <vector>

#include "core/check.h"
#include "core/tensor.h"

namespace tenon::cpu {

SwapSpace::SwapSpace(std::int64_t host_blocks, std::int64_t disk_blocks, std::int64_t block_bytes,
                     const std::string& directory)
    : host_blocks_(host_blocks),
      disk_blocks_(disk_blocks),
      block_bytes_(block_bytes),
      file_(disk_blocks, block_bytes, directory) {
  if (host_blocks_ > 0)
    memory_ = allocate_aligned(static_cast<std::size_t>(host_blocks_ * block_bytes_));
}

void SwapSpace::store(std::int64_t block, std::int64_t offset, const std::byte* source,
                      std::int64_t bytes) {
  TENON_ASSERT(block >= 0 && block < blocks() && offset + bytes <= block_bytes_);
  if (std::byte* at = in_memory(block))
    std::memcpy(at + offset, source, static_cast<std::size_t>(bytes));
  else
    file_.store(block - host_blocks_, offset, source, bytes);
}

void SwapSpace::load(std::int64_t block, std::int64_t offset, std::byte* destination,
                     std::int64_t bytes) {
  TENON_ASSERT(block >= 0 && block < blocks() && offset + bytes <= block_bytes_);
  if (const std::byte* at = in_memory(block))
    std::memcpy(destination, at + offset, static_cast<std::size_t>(bytes));
  else
    file_.load(block - host_blocks_, offset, destination, bytes);
}

void SwapSpace::move(std::int64_t source, std::int64_t destination) {
  TENON_ASSERT(source >= 0 && source < blocks());
  if (source == destination) return;
  if (const std::byte* at = in_memory(source)) return store(destination, 0, at, block_bytes_);
  if (std::byte* at = in_memory(destination)) return load(source, 0, at, block_bytes_);
  std::vector<std::byte> block(static_cast<std::size_t>(block_bytes_));
  load(source, 0, block.data(), block_bytes_);
  store(destination, 0, block.data(), block_bytes_);
}

}  // namespace tenon::cpu
