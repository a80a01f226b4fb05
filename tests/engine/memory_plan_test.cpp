// Values that live together never share bytes, and the arena is not much larger than it must be.
// SPDX-License-Identifier: Apache-2.0
#include "engine/memory_plan.h"

#include <gtest/gtest.h>

#include <random>

namespace tenon {
namespace {

bool overlap(const Lifetime& a, const Lifetime& b) {
  return a.first <= b.last && b.first <= a.last;
}

TEST(MemoryPlan, RandomLivesNeverShareBytes) {
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    std::vector<Lifetime> lives(1 + random() % 60);
    for (Lifetime& life : lives) {
      life.bytes = random() % 8 == 0 ? 0 : 1 + random() % 5000;
      life.first = static_cast<int>(random() % 40);
      life.last = life.first + static_cast<int>(random() % 8);
    }
    const MemoryPlan plan = plan_memory(lives);
    std::int64_t busiest = 0;
    for (int node = 0; node < 50; ++node) {
      std::int64_t bytes = 0;
      for (const Lifetime& life : lives)
        if (life.first <= node && node <= life.last) bytes += (life.bytes + 63) / 64 * 64;
      busiest = std::max(busiest, bytes);
    }
    ASSERT_GE(plan.arena_bytes, busiest);
    ASSERT_LE(plan.arena_bytes, 2 * busiest);
    for (std::size_t i = 0; i < lives.size(); ++i) {
      if (lives[i].bytes == 0) {
        ASSERT_EQ(plan.offsets[i], -1);
        continue;
      }
      ASSERT_EQ(plan.offsets[i] % 64, 0);
      ASSERT_LE(plan.offsets[i] + lives[i].bytes, plan.arena_bytes);
      for (std::size_t j = 0; j < i; ++j) {
        if (lives[j].bytes == 0 || !overlap(lives[i], lives[j])) continue;
        ASSERT_TRUE(plan.offsets[i] + lives[i].bytes <= plan.offsets[j] ||
                    plan.offsets[j] + lives[j].bytes <= plan.offsets[i]);
      }
    }
  }
}

}  // namespace
}  // namespace tenon
