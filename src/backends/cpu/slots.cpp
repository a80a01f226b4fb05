// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/slots.h"

#include <optional>
#include <utility>

#include "core/check.h"

namespace tenon::cpu {

Slots::Slots(std::int64_t count, std::span<const CacheGroupDescription> groups)
    : slots_(static_cast<std::size_t>(count)), groups_(groups.begin(), groups.end()) {
  for (Slot& slot : slots_) slot.tables = BlockTables(groups_.size());
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
    slot.tables.clear();
    slot.last_token = kLastSampledToken;
    slot.sampling = {};
  }
  if (parent != nullptr) {
    slot.tables = std::move(parent->tables);
    slot.last_token = parent->last_token;
    slot.sampling.history = std::move(parent->history);
  }
  for (const BlockTableChange& change : update.tables)
    slot.tables.change(change, groups_, update.slot);
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
    const std::int64_t first = batch.cached_tokens[s];
    const std::int64_t end = first + batch.token_begin[s + 1] - batch.token_begin[s];
    at(batch.slots[s]).tables.check_reach(groups_, batch.slots[s], first, end);
  }
}

std::vector<std::vector<std::span<const std::int32_t>>> Slots::tables(const Batch& batch) const {
  std::vector<std::vector<std::span<const std::int32_t>>> out(groups_.size());
  for (std::size_t g = 0; g < groups_.size(); ++g)
    for (const std::int32_t slot : batch.slots) out[g].emplace_back(at(slot).tables.of(g));
  return out;
}

}  // namespace tenon::cpu
