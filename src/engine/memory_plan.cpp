// SPDX-License-Identifier: Apache-2.0
#include "engine/memory_plan.h"

#include <algorithm>
#include <numeric>

namespace tenon {

MemoryPlan plan_memory(const std::vector<Lifetime>& lifetimes) {
  constexpr std::int64_t kAlignment = 64;
  struct Placed {
    std::int64_t begin, end;
    int first, last;
  };
  MemoryPlan plan;
  plan.offsets.assign(lifetimes.size(), -1);
  std::vector<std::size_t> order(lifetimes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return lifetimes[a].bytes > lifetimes[b].bytes;
  });
  std::vector<Placed> placed;  // sorted by begin
  for (const std::size_t index : order) {
    const Lifetime& life = lifetimes[index];
    if (life.bytes <= 0) continue;
    const std::int64_t size = (life.bytes + kAlignment - 1) / kAlignment * kAlignment;
    std::int64_t offset = 0;
    for (const Placed& other : placed) {
      const bool alive_together = other.first <= life.last && life.first <= other.last;
      if (!alive_together) continue;
      if (offset + size <= other.begin) break;
      offset = std::max(offset, other.end);
    }
    plan.offsets[index] = offset;
    plan.arena_bytes = std::max(plan.arena_bytes, offset + size);
    const Placed mine{offset, offset + size, life.first, life.last};
    placed.insert(
        std::upper_bound(placed.begin(), placed.end(), mine,
                         [](const Placed& a, const Placed& b) { return a.begin < b.begin; }),
        mine);
  }
  return plan;
}

}  // namespace tenon
