// KvSequence: what KvCache keeps of one sequence: its block tables, how far it has come, and from
// which token on the next call has more to do than nothing.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "runtime/kv_cache.h"
#include "runtime/kv_node.h"

namespace tenon {

/// Part of a table; empty where begin >= end.
struct KvRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  void include(std::int64_t first, std::int64_t last) {
    begin = begin < end ? std::min(begin, first) : first;
    end = std::max(end, last);
  }
};

struct KvTable {
  std::vector<std::int32_t> blocks;  ///< -1: fell out of the window
  std::int64_t first = 0;            ///< blocks before it are -1
  std::int64_t promised = 0;         ///< blocks it may hold at once
  // What the device does not know yet. Two ranges: a window loses blocks at its begin and gets new
  // ones at its end.
  KvRange lost;
  KvRange changed;

  std::int64_t size() const { return static_cast<std::int64_t>(blocks.size()); }
  std::int64_t held() const { return size() - std::min(first, size()); }
  std::int32_t at(std::int64_t index) const { return blocks[static_cast<std::size_t>(index)]; }
  void set(std::int64_t index, std::int32_t block) {
    blocks[static_cast<std::size_t>(index)] = block;
    changed.include(index, index + 1);
  }
  void append(std::int32_t block) {
    blocks.push_back(block);
    changed.include(size() - 1, size());
  }
};

/// What every step asks of every sequence. These lie side by side, apart from the sequences, so
/// that those of thousands stay in the core's own cache.
struct KvGlance {
  std::int64_t quiet_growth = -1;  ///< grow() up to here has nothing to do
  bool tables_changed = false;
  bool live = false;
};

struct alignas(64) KvSequence {
  std::int64_t quiet_commit = 0;  ///< commit() below this only moves `settled`
  std::int64_t settled = 0;       ///< tokens before it are never written again
  std::int64_t committed = 0;     ///< blocks in the tree; `tail` is the node of the last one
  KvNode* tail = nullptr;         ///< null: nothing is ever found again
  std::int64_t reserve = 0;       ///< tokens
  std::vector<KvTable> tables;

  bool has_retention = false;
  KvRetention retention;
  std::int64_t prompt_tokens = 0;
};

}  // namespace tenon
