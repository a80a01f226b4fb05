// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/slot_sampling.h"

#include <algorithm>
#include <map>

#include "backends/history_needs.h"
#include "core/check.h"

namespace tenon::cuda {
std::int32_t listed_tokens(const SamplingParams& params, std::size_t end_ids,
                           std::int64_t vocabulary) {
  return static_cast<std::int32_t>(
      std::clamp<std::int64_t>(tenon::listed_tokens(params, end_ids), 0, vocabulary));
}

SlotSamplings::SlotSamplings(std::int64_t slots, std::int64_t vocabulary, std::int64_t order_limit)
    : slots_(static_cast<std::size_t>(slots)), vocabulary_(vocabulary), order_limit_(order_limit) {}

void SlotSamplings::check_slot(std::int32_t slot) const {
  TENON_CHECK(slot >= 0 && slot < static_cast<std::int64_t>(slots_.size()), ErrorCode::kInternal,
              "[slots] slot {} of {} is not there", slot, slots_.size());
}

std::int32_t SlotSamplings::listed(std::int32_t slot) const {
  check_slot(slot);
  return slots_[static_cast<std::size_t>(slot)].listed;
}

std::vector<HistoryChange> SlotSamplings::apply(std::span<const SlotUpdate> updates) {
  for (const SlotUpdate& update : updates) {
    check_slot(update.slot);
    if (update.parent != -1) check_slot(update.parent);
  }
  std::map<std::int32_t, Slot> changed;  // slots_ stay as they are until all updates have passed
  std::vector<HistoryChange> out;
  for (const SlotUpdate& update : updates) {
    Slot& slot = changed.try_emplace(update.slot, slots_[static_cast<std::size_t>(update.slot)])
                     .first->second;
    out.push_back(change(
        update, update.parent == -1 ? nullptr : &slots_[static_cast<std::size_t>(update.parent)],
        slot));
  }
  for (const auto& [index, slot] : changed) slots_[static_cast<std::size_t>(index)] = slot;
  return out;
}

HistoryChange SlotSamplings::change(const SlotUpdate& update, const Slot* parent,
                                    Slot& slot) const {
  if (update.reset) slot = {};
  HistoryChange out;
  bool had_use = slot.keeps_use;  // the device's row holds this sequence's
  if (parent != nullptr) {
    slot.keeps_use = parent->keeps_use;
    slot.keeps_order = parent->keeps_order;
    slot.has_outputs = parent->has_outputs;
    slot.prompt_tokens = parent->prompt_tokens;
    had_use = false;
  }
  if (update.sampling || update.reset) {
    const SamplingParams params = update.sampling.value_or(SamplingParams{});
    slot.needs_use = looks_at_use(params);
    slot.needs_order = looks_at_order(params);
    slot.prompt_ignore_length = params.prompt_ignore_length;
    slot.beam = params.beam_width > 1;
    slot.listed = listed_tokens(params, update.end_ids.size(), vocabulary_);
  }
  if (update.sampling || update.reset || parent != nullptr) {
    const bool fresh = slot.prompt_tokens == 0 && !slot.has_outputs;
    TENON_CHECK(
        fresh || ((slot.keeps_use || !slot.needs_use) && (slot.keeps_order || !slot.needs_order)),
        ErrorCode::kInternal,
        "[sampler] tokens of slot {} went by without the history that the parameters need",
        update.slot);
    const bool parent_use = parent != nullptr && parent->keeps_use;
    const bool parent_order = parent != nullptr && parent->keeps_order;
    out.takes_use = slot.needs_use && parent_use;
    out.takes_order = slot.needs_order && parent_order;
    out.clears_use = slot.needs_use && !out.takes_use && !had_use;
    slot.keeps_use = slot.needs_use;
    slot.keeps_order = slot.needs_order;
  }
  TENON_CHECK(!slot.keeps_order || static_cast<std::int64_t>(update.history.size() +
                                                             update.outputs.size()) <= order_limit_,
              ErrorCode::kInternal, "[sampler] {} tokens for slot {}, which holds {}",
              update.history.size() + update.outputs.size(), update.slot, order_limit_);
  out.keeps_use = slot.keeps_use;
  out.keeps_order = slot.keeps_order;
  out.history_ignored = std::max(0, slot.prompt_ignore_length - slot.prompt_tokens);
  slot.prompt_tokens += static_cast<std::int32_t>(update.history.size());
  slot.has_outputs = slot.has_outputs || !update.outputs.empty();
  return out;
}

void SlotSamplings::mark_sampled(const Batch& batch) {
  for (std::size_t s = 0; s < batch.slots.size(); ++s) {
    check_slot(batch.slots[s]);
    Slot& slot = slots_[static_cast<std::size_t>(batch.slots[s])];
    if (batch.sample_row[s] >= 0 && !slot.beam) slot.has_outputs = true;
  }
}

}  // namespace tenon::cuda
