// SlotTables: the host's copy of what it decides about slots, block tables above all. Changes are
// checked here and sent to the device; kernels check nothing.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "backends/backend.h"
#include "backends/block_tables.h"

namespace tenon::cuda {

/// A run of table entries for the device: tables[group][slot * stride + begin …].
struct TableChange {
  std::int32_t group = 0;
  std::int32_t slot = 0;
  std::int32_t begin = 0;
  std::vector<std::int32_t> blocks;
};

class SlotTables {
 public:
  /// `stride`: blocks a table may have.
  SlotTables(std::int64_t slots, std::span<const CacheGroupDescription> groups,
             std::int32_t stride);

  /// Takes over all updates of a step and gives what changed. Throws Error{kInternal} where one
  /// names a slot, group or block that is not there.
  std::vector<TableChange> apply(std::span<const SlotUpdate> updates);
  /// Changes of one or more apply() calls, in their order, as one a table: the device makes all of
  /// a launch at once, in no order.
  void merge(std::vector<TableChange>& changes) const;

  /// Throws Error{kInternal} where tables do not reach over the tokens of the step, a slot is not
  /// there, or stands for a last token that it does not have.
  void check(const Batch& batch) const;
  /// The step samples: its slots have last tokens from now on.
  void mark_sampled(const Batch& batch);

 private:
  struct Slot {
    BlockTables tables;
    bool has_token = false;
  };
  void apply(const SlotUpdate& update, const std::vector<Slot>& parents,
             std::vector<TableChange>& out);
  const Slot& at(std::int32_t slot) const;

  std::vector<Slot> slots_;
  std::vector<CacheGroupDescription> groups_;
  std::int32_t stride_;
};

}  // namespace tenon::cuda
