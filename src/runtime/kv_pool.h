// KvPool: the blocks of one cache group on the device and its swapped blocks: who holds them, which
// are empty, which may leave their tier, and what running sequences are promised.
// Invariant: a block is empty, held (references > 0), or kept (no references, but a node).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "runtime/kv_cache.h"
#include "runtime/kv_node.h"

namespace tenon {

struct KvBlock {
  std::int32_t references = 0;
  /// Sequences whose next token would be written here. One writes in place where it is the only
  /// holder and no node shows the block to others; the rest have to copy first.
  std::int32_t writers = 0;
  KvNode* node = nullptr;

  /// Copies that writers may still ask for.
  std::int32_t copies_due() const {
    const bool last_in_place = writers > 0 && writers == references && node == nullptr;
    return writers - (last_in_place ? 1 : 0);
  }
  bool shared() const { return references > 1 || node != nullptr; }
};

class KvPool {
 public:
  /// `group`: its number. Throws Error{kInvalidArgument} for sizes that cannot be.
  KvPool(const KvCacheSettings& settings, int group);
  /// As it was made: every block is empty. Allocates nothing.
  void reset() noexcept;

  int group() const { return group_; }
  KvPlace& place(KvNode& node) const { return node.place(static_cast<std::size_t>(group_)); }
  const KvPlace& place(const KvNode& node) const {
    return node.place(static_cast<std::size_t>(group_));
  }
  bool whole_context() const { return sizes_.window == 0; }
  std::int64_t window() const { return sizes_.window; }
  std::int64_t blocks() const { return sizes_.blocks; }
  const KvBlock& block(std::int32_t index) const {
    return blocks_[static_cast<std::size_t>(index)];
  }

  /// First block that the step reads which computes token `next`.
  std::int64_t first_needed(std::int64_t next) const {
    return whole_context() || next < sizes_.window ? 0 : (next - sizes_.window + 1) / block_tokens_;
  }
  /// Blocks that a sequence of `tokens` tokens holds at most at any time.
  std::int64_t most_held(std::int64_t tokens) const;

  std::int64_t empty() const { return static_cast<std::int64_t>(empty_.size()); }
  std::int64_t kept() const { return kept_; }
  std::int64_t held() const { return held_; }
  std::int64_t available() const { return empty() + kept_; }
  /// Whole context: each sequence is promised the blocks it does not hold yet; what it shares stays
  /// shared until it ends. Window: each is promised all its blocks, since shared ones are given up
  /// at different times.
  std::int64_t reserved() const {
    return whole_context() ? promised_ + copies_due_ : promised_ - held_;
  }
  void promise(std::int64_t blocks) { promised_ += blocks; }

  /// An empty block with one reference. There must be one.
  std::int32_t take();
  void add_reference(std::int32_t block);
  /// True where that was the last one: the block is kept if it has a node, else empty.
  bool drop_reference(std::int32_t block);
  void add_writer(std::int32_t block, int count);
  void set_node(std::int32_t block, KvNode* node);

  /// A free swapped block of the tier, -1: none. Host: [0, host), disk: [host, host + disk).
  std::int32_t take_swapped(KvTier tier);
  void give_back_swapped(KvTier tier, std::int32_t index);
  std::int64_t swapped_capacity(KvTier tier) const {
    return tier == KvTier::kHost ? sizes_.host_blocks : sizes_.disk_blocks;
  }
  std::int64_t swapped_in_use() const;

  /// Puts the node on its tier's list, or off it, as its state says. Call after what may change it.
  void refresh(KvNode& node);
  /// Takes the node off its list, before its place changes.
  void unlist(KvNode& node);
  /// Changes the order of the node's place.
  void reorder(KvNode& node, const KvOrder& order);
  /// Who leaves the tier first; null: nobody may.
  KvNode* first_to_leave(KvTier tier) const;
  bool may_leave(const KvNode& node) const;
  /// The one whose turn comes after first_to_leave(); null: none.
  const KvNode* second_to_leave(KvTier tier) const;
  /// Asks the memory for a block, and for its node where the block itself is at hand.
  void prefetch(std::int32_t block) const noexcept {
    if (block >= 0) __builtin_prefetch(&this->block(block));
  }
  void prefetch_node(std::int32_t block) const noexcept {
    if (block >= 0 && this->block(block).node != nullptr) this->block(block).node->prefetch();
  }

  std::int64_t promised() const { return promised_; }
  std::int64_t copies_due() const { return copies_due_; }
  std::span<const std::int32_t> empty_blocks() const { return empty_; }
  std::span<const std::int32_t> empty_swapped(KvTier tier) const {
    return tier == KvTier::kHost ? empty_host_ : empty_disk_;
  }

 private:
  void list(KvNode& node, KvPlace& place);
  KvBlock& at(std::int32_t index) { return blocks_[static_cast<std::size_t>(index)]; }
  template <class Change>
  void change(std::int32_t block, const Change& apply);

  int group_;
  KvCacheGroup sizes_;
  std::int64_t block_tokens_;
  std::int64_t max_step_tokens_;
  std::vector<KvBlock> blocks_;
  std::vector<std::int32_t> empty_;  // last in, first out: a warm block is used again
  std::vector<std::int32_t> empty_host_;
  std::vector<std::int32_t> empty_disk_;
  using Leaving = std::set<std::pair<KvOrder, KvNode*>>;
  std::array<Leaving, kKvTiers> leaving_;
  Leaving::node_type spare_;  // an entry to use again: mostly a block that goes frees its parent
  std::int64_t held_ = 0;
  std::int64_t kept_ = 0;
  std::int64_t promised_ = 0;
  std::int64_t copies_due_ = 0;
};

}  // namespace tenon
