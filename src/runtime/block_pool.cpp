// SPDX-License-Identifier: Apache-2.0
#include "runtime/block_pool.h"

#include "core/check.h"

namespace tenon {

BlockPool::BlockPool(std::int64_t blocks) : in_use_(static_cast<std::size_t>(blocks), false) {
  free_.reserve(in_use_.size());
  for (std::int64_t block = blocks; block-- > 0;) free_.push_back(static_cast<std::int32_t>(block));
}

std::vector<std::int32_t> BlockPool::take(std::int64_t count) {
  TENON_ASSERT(count >= 0 && count <= free());
  std::vector<std::int32_t> blocks(free_.end() - count, free_.end());
  free_.resize(free_.size() - static_cast<std::size_t>(count));
  for (const std::int32_t block : blocks) in_use_[static_cast<std::size_t>(block)] = true;
  return blocks;
}

void BlockPool::give_back(std::span<const std::int32_t> blocks) {
  for (const std::int32_t block : blocks) {
    TENON_ASSERT(block >= 0 && block < total() && in_use_[static_cast<std::size_t>(block)]);
    in_use_[static_cast<std::size_t>(block)] = false;
    free_.push_back(block);
  }
}

}  // namespace tenon
