// Slots: what a sequence keeps between steps — block tables, last sampled token, sampling state.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "backends/backend.h"
#include "backends/block_tables.h"
#include "backends/cpu/sampler_state.h"

namespace tenon::cpu {

struct Slot {
  BlockTables tables;
  std::int32_t last_token = kLastSampledToken;  ///< none yet
  SamplingState sampling;
};

class Slots {
 public:
  Slots(std::int64_t count, std::span<const CacheGroupDescription> groups);

  /// The updates of one batch, in order; parents are as they were before the first. Throws
  /// Error{kInternal} where one names a slot, group or block that is not there.
  void apply(std::span<const SlotUpdate> updates);
  /// A token was sampled.
  void record(std::int32_t slot, std::int32_t token);

  /// Throws Error{kInternal} where there is no such slot.
  const Slot& at(std::int32_t slot) const;

  /// Throws Error{kInternal} where the tables do not reach over the tokens of the step.
  void check_tables(const Batch& batch) const;
  /// [group][sequence]
  std::vector<std::vector<std::span<const std::int32_t>>> tables(const Batch& batch) const;

 private:
  /// What a slot takes over from its parent.
  struct Inheritance {
    BlockTables tables;
    std::int32_t last_token = kLastSampledToken;
    TokenHistory history;
  };
  void apply(const SlotUpdate& update, Inheritance* parent);

  std::vector<Slot> slots_;
  std::vector<CacheGroupDescription> groups_;
};

}  // namespace tenon::cpu
