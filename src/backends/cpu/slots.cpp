// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/slots.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "core/check.h"

namespace tenon::cpu {

Slots::Slots(std::int64_t count, std::span<const CacheGroupDescription> groups)
    : slots_(static_cast<std::size_t>(count)), groups_(groups.begin(), groups.end()) {
  for (Slot& slot : slots_) slot.tables.resize(groups_.size());
}

void Slots::apply(std::span<const SlotUpdate> updates) {
  std::vector<std::optional<Inheritance>> parents(updates.size());
  for (std::size_t i = 0; i < updates.size(); ++i) {
    if (updates[i].parent == -1) continue;
    const Slot& parent = at(updates[i].parent);
    parents[i] = {parent.tables, parent.last_token, parent.sampling.history};
  }
  for (std::size_t i = 0; i < updates.size(); ++i)
    apply(updates[i], parents[i] ? &*parents[i] : nullptr);
}

void Slots::apply(const SlotUpdate& update, Inheritance* parent) {
  at(update.slot);  // is there
  Slot& slot = slots_[static_cast<std::size_t>(update.slot)];
  if (update.reset) {
    for (auto& table : slot.tables) table.clear();
    slot.last_token = kLastSampledToken;
    slot.sampling = {};
  }
  if (parent != nullptr) {
    slot.tables = std::move(parent->tables);
    slot.last_token = parent->last_token;
    slot.sampling.history = std::move(parent->history);
  }
  for (const BlockTableChange& change : update.tables) {
    TENON_ASSERT(change.group >= 0 && change.group < static_cast<int>(groups_.size()));
    const auto group = static_cast<std::size_t>(change.group);
    auto& table = slot.tables[group];
    const std::size_t end = static_cast<std::size_t>(change.begin) + change.blocks.size();
    TENON_CHECK(static_cast<std::size_t>(change.begin) <= table.size(), ErrorCode::kInternal,
                "[slots] table of slot {} has {} blocks; a change begins at {}", update.slot,
                table.size(), change.begin);
    if (end > table.size()) table.resize(end);
    for (std::size_t i = 0; i < change.blocks.size(); ++i) {
      const std::int32_t block = change.blocks[i];
      TENON_CHECK(block >= -1 && block < groups_[group].blocks, ErrorCode::kInternal,
                  "[slots] block {} of {} is not there", block, groups_[group].blocks);
      table[static_cast<std::size_t>(change.begin) + i] = block;
    }
  }
  if (update.sampling) slot.sampling.params = *update.sampling;
  if (update.sampling || update.reset) {
    slot.sampling.sample_index = update.sample_index;
    slot.sampling.end_ids = update.end_ids;
  }
  if (update.sampling || parent != nullptr) slot.sampling.settle();
  slot.sampling.add_prompt(update.history);
  for (const std::int32_t token : update.outputs) record(update.slot, token);
}

void Slots::record(std::int32_t slot, std::int32_t token) {
  Slot& entry = slots_[static_cast<std::size_t>(slot)];
  entry.last_token = token;
  entry.sampling.record(token);
}

const Slot& Slots::at(std::int32_t slot) const {
  TENON_CHECK(slot >= 0 && slot < static_cast<std::int64_t>(slots_.size()), ErrorCode::kInternal,
              "[slots] slot {} of {} is not there", slot, slots_.size());
  return slots_[static_cast<std::size_t>(slot)];
}

void Slots::check_tables(const Batch& batch) const {
  for (std::size_t s = 0; s < batch.slots.size(); ++s) {
    const Slot& slot = at(batch.slots[s]);
    const std::int64_t first = batch.cached_tokens[s];
    const std::int64_t end = first + batch.token_begin[s + 1] - batch.token_begin[s];
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

std::vector<std::vector<std::span<const std::int32_t>>> Slots::tables(const Batch& batch) const {
  std::vector<std::vector<std::span<const std::int32_t>>> out(groups_.size());
  for (std::size_t g = 0; g < groups_.size(); ++g)
    for (const std::int32_t slot : batch.slots) out[g].emplace_back(at(slot).tables[g]);
  return out;
}

}  // namespace tenon::cpu
