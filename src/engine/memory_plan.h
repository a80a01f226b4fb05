// Places the values of a program in one arena: values whose lives overlap never share bytes.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

namespace tenon {

/// A value's life: from the node that makes it to the last that reads it, both included.
struct Lifetime {
  std::int64_t bytes = 0;
  int first = 0;
  int last = 0;
};

struct MemoryPlan {
  std::vector<std::int64_t> offsets;  ///< multiples of 64; -1 where bytes is 0
  std::int64_t arena_bytes = 0;
};

/// Greedy by size: large values first, each at the lowest offset free during its life.
MemoryPlan plan_memory(const std::vector<Lifetime>& lifetimes);

}  // namespace tenon
