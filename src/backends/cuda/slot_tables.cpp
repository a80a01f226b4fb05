// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/slot_tables.h"

#include <algorithm>
#include <utility>

#include "core/check.h"

namespace tenon::cuda {

SlotTables::SlotTables(std::int64_t slots, std::span<const CacheGroupDescription> groups,
                       std::int32_t stride)
    : slots_(static_cast<std::size_t>(slots)),
      groups_(groups.begin(), groups.end()),
      stride_(stride) {
  for (Slot& slot : slots_) slot.tables = BlockTables(groups_.size());
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
    slot.tables.clear();
    slot.has_token = false;
  }
  for (const Slot& parent : parents) slot = parent;
  for (const BlockTableChange& change : update.tables) {
    slot.tables.change(change, groups_, update.slot, stride_);
    if (!change.blocks.empty() && parents.empty())
      out.push_back({change.group, update.slot, change.begin, change.blocks});
  }
  for (std::size_t g = 0; g < groups_.size() && !parents.empty(); ++g)
    if (!slot.tables.of(g).empty())
      out.push_back({static_cast<std::int32_t>(g), update.slot, 0, slot.tables.of(g)});
  if (!update.outputs.empty()) slot.has_token = true;
}

void SlotTables::merge(std::vector<TableChange>& changes) const {
  const auto table = [](const TableChange& change) { return std::pair(change.slot, change.group); };
  const auto in_order = [&](const TableChange& a, const TableChange& b) {
    return table(a) < table(b);
  };
  const auto twice = std::adjacent_find(
      changes.begin(), changes.end(),
      [&](const TableChange& a, const TableChange& b) { return !in_order(a, b); });
  if (twice == changes.end()) return;
  std::stable_sort(changes.begin(), changes.end(), in_order);
  std::vector<TableChange> merged;
  for (TableChange& change : changes) {
    if (merged.empty() || table(merged.back()) != table(change)) {
      merged.push_back(std::move(change));
      continue;
    }
    // What lies in and between the two is the table's content by now.
    TableChange& whole = merged.back();
    const std::vector<std::int32_t>& blocks =
        at(whole.slot).tables.of(static_cast<std::size_t>(whole.group));
    const auto size = static_cast<std::int32_t>(blocks.size());
    const auto end_of = [](const TableChange& run) {
      return run.begin + static_cast<std::int32_t>(run.blocks.size());
    };
    const std::int32_t end = std::min(size, std::max(end_of(whole), end_of(change)));
    whole.begin = std::min({end, whole.begin, change.begin});
    whole.blocks.assign(blocks.begin() + whole.begin, blocks.begin() + end);
  }
  changes = std::move(merged);
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
    slot.tables.check_reach(groups_, batch.slots[s], first, end);
  }
}

void SlotTables::mark_sampled(const Batch& batch) {
  for (std::size_t s = 0; s < batch.slots.size(); ++s)
    if (batch.sample_row[s] >= 0) slots_[static_cast<std::size_t>(batch.slots[s])].has_token = true;
}

}  // namespace tenon::cuda
