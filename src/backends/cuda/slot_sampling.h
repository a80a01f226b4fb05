// SlotSamplings: what the host knows of slots' sampling on the device: which histories each keeps,
// how much it lists. Updates that ask for a history that was not kept are refused here.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "backends/batch.h"

namespace tenon::cuda {

/// What one update means for the device's memory of its slot.
struct HistoryChange {
  bool keeps_use = false;  ///< from now on: which tokens were used
  bool keeps_order = false;
  bool clears_use = false;
  bool takes_use = false;  ///< from the parent
  bool takes_order = false;
  std::int32_t history_ignored = 0;  ///< first tokens of the update's history
};

class SlotSamplings {
 public:
  /// `order_limit`: tokens that the order of a sequence may have.
  SlotSamplings(std::int64_t slots, std::int64_t vocabulary, std::int64_t order_limit);

  /// The updates of one batch, in order; parents are as they were before the first. Throws
  /// Error{kInternal}, and nothing has changed, where a slot is not there or parameters need a
  /// history that was not kept.
  std::vector<HistoryChange> apply(std::span<const SlotUpdate> updates);
  /// The step samples these slots: they have outputs from now on.
  void mark_sampled(const Batch& batch);

  /// Tokens that a step lists for this slot: the likeliest, or a beam's continuations.
  std::int32_t listed(std::int32_t slot) const;

 private:
  struct Slot {
    bool keeps_use = false;
    bool keeps_order = false;
    bool has_outputs = false;
    std::int32_t prompt_tokens = 0;
    // Of its parameters:
    bool beam = false;
    bool needs_use = false;
    bool needs_order = false;
    std::int32_t prompt_ignore_length = 0;
    std::int32_t listed = 0;
  };
  HistoryChange change(const SlotUpdate& update, const Slot* parent, Slot& slot) const;
  void check_slot(std::int32_t slot) const;

  std::vector<Slot> slots_;
  std::int64_t vocabulary_;
  std::int64_t order_limit_;
};

/// Tokens that a step lists with these parameters.
std::int32_t listed_tokens(const SamplingParams& params, std::size_t end_ids,
                           std::int64_t vocabulary);

}  // namespace tenon::cuda
