// SPDX-License-Identifier: Apache-2.0
#include "runtime/kv_node_index.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "core/check.h"

namespace tenon {

void KvNodeIndex::put(const Slot& slot) {
  std::size_t i = home(slot.hash);
  while (slots_[i].node != nullptr) i = after(i);
  slots_[i] = slot;
}

void KvNodeIndex::grow() {
  constexpr std::size_t kFirst = 64;
  std::vector<Slot> old(slots_.empty() ? kFirst : 2 * slots_.size());
  std::swap(slots_, old);
  shift_ = 64 - std::countr_zero(slots_.size());
  for (const Slot& slot : old)
    if (slot.node != nullptr) put(slot);
}

void KvNodeIndex::insert(KvNode& node) {
  if (2 * (size_ + 1) > slots_.size()) grow();
  put({node.hash, &node});
  ++size_;
}

void KvNodeIndex::erase(const KvNode& node) {
  std::size_t hole = home(node.hash);
  while (slots_[hole].node != &node) {
    TENON_ASSERT(slots_[hole].node != nullptr);
    hole = after(hole);
  }
  // Those that follow move up, unless that were before their home.
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t i = after(hole); slots_[i].node != nullptr; i = after(i)) {
    if (((i - home(slots_[i].hash)) & mask) < ((i - hole) & mask)) continue;
    slots_[hole] = slots_[i];
    hole = i;
  }
  slots_[hole] = {};
  --size_;
}

void KvNodeIndex::clear() noexcept {
  std::ranges::fill(slots_, Slot{});
  size_ = 0;
}

}  // namespace tenon
