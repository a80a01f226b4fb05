// BlockPool: which blocks of one cache group are free. Pure bookkeeping, no device.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tenon {

class BlockPool {
 public:
  explicit BlockPool(std::int64_t blocks);

  std::int64_t total() const { return static_cast<std::int64_t>(in_use_.size()); }
  std::int64_t free() const { return static_cast<std::int64_t>(free_.size()); }

  /// `count` blocks; the caller has checked free().
  std::vector<std::int32_t> take(std::int64_t count);
  void give_back(std::span<const std::int32_t> blocks);

 private:
  std::vector<std::int32_t> free_;  // last in, first out: a warm block is used again
  std::vector<bool> in_use_;
};

}  // namespace tenon
