// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/slot_tables.h"

#include <algorithm>

#include "core/check.h"

namespace tenon::cuda {

SlotTables::SlotTables(std::int64_t slots, std::span<const CacheGroupDescription> groups,
                       std::int32_t stride)
    : slots_(static_cast<std::size_t>(slots)),
      groups_(groups.begin(), groups.end()),
      stride_(stride) {
  for (Slot& slot : slots_) slot.tables.resize(groups_.size());
}

const SlotTables::Slot& SlotTables::at(std::int32_t slot) const {
  TENON_CHECK(slot >= 0 && slot < static_cast<std::int64_t>(slots_.size()), ErrorCode::kInternal,
              "[slots] slot {} of {} is not there", slot, slots_.size());
  return slots_[static_cast<std::size_t>(slot)];
}

std::vector<TableChange> SlotTables::apply(std::span<const SlotUpdate> updates) {
  std::vector<Slot> parents(updates.size());  // as they were before any update
  for (std::size_t i = 0; i < updates.size(); ++i)
    if (updates[i].parent >= 0) parents[i] = at(updates[i].parent);
  std::vector<TableChange> out;
  for (std::size_t i = 0; i < updates.size(); ++i) {
    at(updates[i].slot);
    std::vector<Slot> parent;
    if (updates[i].parent >= 0) parent.push_back(std::move(parents[i]));
    apply(updates[i], parent, out);
  }
  return out;
}

void SlotTables::apply(const SlotUpdate& update, const std::vector<Slot>& parents,
                       std::vector<TableChange>& out) {
  Slot& slot = slots_[static_cast<std::size_t>(update.slot)];
  if (update.reset) {
    for (auto& table : slot.tables) table.clear();
    slot.has_token = false;
  }
  for (const Slot& parent : parents) slot = parent;
  for (const BlockTableChange& change : update.tables) {
    TENON_ASSERT(change.group >= 0 && change.group < static_cast<int>(groups_.size()));
    const auto group = static_cast<std::size_t>(change.group);
    auto& table = slot.tables[group];
    const std::size_t end = static_cast<std::size_t>(change.begin) + change.blocks.size();
    TENON_CHECK(static_cast<std::size_t>(change.begin) <= table.size() &&
                    end <= static_cast<std::size_t>(stride_),
                ErrorCode::kInternal,
                "[slots] table of slot {} has {} blocks of {} at most; a change has [{}, {})",
                update.slot, table.size(), stride_, change.begin, end);
    for (const std::int32_t block : change.blocks)
      TENON_CHECK(block >= -1 && block < groups_[group].blocks, ErrorCode::kInternal,
                  "[slots] block {} of {} is not there", block, groups_[group].blocks);
    if (end > table.size()) table.resize(end);
    std::copy(change.blocks.begin(), change.blocks.end(), table.begin() + change.begin);
    if (!change.blocks.empty() && parents.empty())
      out.push_back({change.group, update.slot, change.begin, change.blocks});
  }
  // One change a table: the device makes all of a batch at once, in no order.
  for (std::size_t g = 0; g < groups_.size() && !parents.empty(); ++g)
    if (!slot.tables[g].empty())
      out.push_back({static_cast<std::int32_t>(g), update.slot, 0, slot.tables[g]});
  if (!update.outputs.empty()) slot.has_token = true;
}

void SlotTables::check(const Batch& batch) const {
  for (std::size_t s = 0; s < batch.slots.size(); ++s) {
    const Slot& slot = at(batch.slots[s]);
    const std::int64_t first = batch.cached_tokens[s];
    const std::int64_t end = first + batch.token_begin[s + 1] - batch.token_begin[s];
    for (std::int32_t t = batch.token_begin[s]; t < batch.token_begin[s + 1]; ++t)
      TENON_CHECK(batch.token_ids[static_cast<std::size_t>(t)] >= 0 || slot.has_token,
                  ErrorCode::kInternal, "[step] slot {} has not sampled a token yet",
                  batch.slots[s]);
    if (end == first) continue;
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      const std::int64_t window = groups_[g].window;
      const std::int64_t size = groups_[g].tokens_per_block;
      // Blocks that a token of this step may read or write.
      const std::int64_t needed = window > 0 ? std::max<std::int64_t>(0, first - window + 1) : 0;
      const auto& table = slot.tables[g];
      for (std::int64_t block = needed / size; block <= (end - 1) / size; ++block)
        TENON_CHECK(block < static_cast<std::int64_t>(table.size()) &&
                        table[static_cast<std::size_t>(block)] >= 0,
                    ErrorCode::kInternal,
                    "[slots] slot {} has no block for tokens {} to {} in cache group {}",
                    batch.slots[s], block * size, std::min((block + 1) * size, end) - 1, g);
    }
  }
}

void SlotTables::mark_sampled(const Batch& batch) {
  for (std::size_t s = 0; s < batch.slots.size(); ++s)
    if (batch.sample_row[s] >= 0) slots_[static_cast<std::size_t>(batch.slots[s])].has_token = true;
}

}  // namespace tenon::cuda
