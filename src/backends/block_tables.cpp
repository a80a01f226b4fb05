// SPDX-License-Identifier: Apache-2.0
#include "backends/block_tables.h"

#include <algorithm>

#include "core/check.h"

namespace tenon {

void BlockTables::clear() {
  for (auto& table : tables_) table.clear();
}

void BlockTables::change(const BlockTableChange& change,
                         std::span<const CacheGroupDescription> groups, std::int32_t slot,
                         std::int64_t most) {
  TENON_CHECK(change.group >= 0 && change.group < static_cast<int>(groups.size()),
              ErrorCode::kInternal, "[slots] cache group {} of {} is not there", change.group,
              groups.size());
  const auto group = static_cast<std::size_t>(change.group);
  auto& table = tables_[group];
  const auto size = static_cast<std::int64_t>(table.size());
  const std::int64_t end = change.begin + static_cast<std::int64_t>(change.blocks.size());
  TENON_CHECK(change.begin >= 0 && change.begin <= size && end <= most, ErrorCode::kInternal,
              "[slots] table of slot {} has {} blocks of {} at most; a change has [{}, {})", slot,
              size, most, change.begin, end);
  for (const std::int32_t block : change.blocks)
    TENON_CHECK(block >= -1 && block < groups[group].blocks, ErrorCode::kInternal,
                "[slots] block {} of {} is not there", block, groups[group].blocks);
  if (end > size) table.resize(static_cast<std::size_t>(end));
  std::copy(change.blocks.begin(), change.blocks.end(), table.begin() + change.begin);
}

void BlockTables::check_reach(std::span<const CacheGroupDescription> groups, std::int32_t slot,
                              std::int64_t first, std::int64_t end) const {
  if (end == first) return;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const std::int64_t window = groups[g].window;
    const std::int64_t size = groups[g].tokens_per_block;
    const std::int64_t needed = window > 0 ? std::max<std::int64_t>(0, first - window + 1) : 0;
    const auto& table = tables_[g];
    for (std::int64_t block = needed / size; block <= (end - 1) / size; ++block)
      TENON_CHECK(block < static_cast<std::int64_t>(table.size()) &&
                      table[static_cast<std::size_t>(block)] >= 0,
                  ErrorCode::kInternal,
                  "[slots] slot {} has no block for tokens {} to {} in cache group {}", slot,
                  block * size, std::min((block + 1) * size, end) - 1, g);
  }
}

}  // namespace tenon
