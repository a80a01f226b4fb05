// KvNodeIndex: nodes by their hash. Open addressing with the hashes beside the nodes, so that a
// search that finds nothing and an erasure look at one place of the memory and at no node.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/kv_node.h"

namespace tenon {

class KvNodeIndex {
 public:
  /// The node with this hash for which `matches(node)`; null: none. Several may have one hash.
  template <class Matches>
  KvNode* find(std::uint64_t hash, const Matches& matches) const {
    if (slots_.empty()) return nullptr;
    for (std::size_t i = home(hash); slots_[i].node != nullptr; i = after(i))
      if (slots_[i].hash == hash && matches(*slots_[i].node)) return slots_[i].node;
    return nullptr;
  }
  /// Under node.hash, which stays as it is until erase(). Where it throws nothing has changed.
  void insert(KvNode& node);
  void erase(const KvNode& node);
  void clear() noexcept;

  std::size_t size() const { return size_; }
  void prefetch(std::uint64_t hash) const noexcept {
    if (!slots_.empty()) __builtin_prefetch(&slots_[home(hash)]);
  }
  template <class Visit>
  void for_each(const Visit& visit) const {
    for (const Slot& slot : slots_)
      if (slot.node != nullptr) visit(*slot.node);
  }

 private:
  struct Slot {
    std::uint64_t hash = 0;
    KvNode* node = nullptr;  ///< null: empty
  };
  // A node stands in the first slot that was empty at or after its home: none between is empty.
  std::size_t home(std::uint64_t hash) const {
    return static_cast<std::size_t>((hash * 0x9E3779B97F4A7C15U) >> shift_);
  }
  std::size_t after(std::size_t slot) const { return (slot + 1) & (slots_.size() - 1); }
  void put(const Slot& slot);
  void grow();

  std::vector<Slot> slots_;  // a power of two, at least half of them empty
  int shift_ = 64;           // 64 - log2 of their number
  std::size_t size_ = 0;
};

}  // namespace tenon
