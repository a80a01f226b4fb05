// BlockTables: which blocks of each cache group hold a sequence's tokens, as a backend keeps them
// for a slot. Everything that the host says is checked here; kernels check nothing.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "backends/backend.h"

namespace tenon {

class BlockTables {
 public:
  /// No blocks yet, in `groups` groups.
  explicit BlockTables(std::size_t groups = 0) : tables_(groups) {}

  void clear();

  /// Takes over a run of entries of `slot`'s table. Throws Error{kInternal}, nothing changed, where
  /// the group or a block is not there, the run leaves a gap, or it ends past `most` entries.
  void change(const BlockTableChange& change, std::span<const CacheGroupDescription> groups,
              std::int32_t slot, std::int64_t most = std::numeric_limits<std::int32_t>::max());

  /// Throws Error{kInternal} where a block is missing that the tokens [first, end) of a step may
  /// read or write, windows considered.
  void check_reach(std::span<const CacheGroupDescription> groups, std::int32_t slot,
                   std::int64_t first, std::int64_t end) const;

  /// Entries of a group in the order of tokens; -1: given back.
  const std::vector<std::int32_t>& of(std::size_t group) const { return tables_[group]; }

 private:
  std::vector<std::vector<std::int32_t>> tables_;  // one a group
};

}  // namespace tenon
