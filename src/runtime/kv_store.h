// KvStore: content on its way between device, host memory and disk, and out of the cache: tree and
// pools together, the commands that move content, statistics, events.
//
// Commands run in order, before the step that they belong to, and after every step before. So a
// command may read whatever lies there when its turn comes: content is saved (kSwapOut) by a
// command that stands before any that overwrites its block, and before the step that does.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <set>
#include <utility>
#include <vector>

#include "runtime/kv_pool.h"
#include "runtime/kv_tree.h"

namespace tenon {

class KvStore {
 public:
  explicit KvStore(const KvCacheSettings& settings);

  KvTree& tree() { return tree_; }
  const KvTree& tree() const { return tree_; }
  std::vector<KvPool>& pools() { return pools_; }
  const std::vector<KvPool>& pools() const { return pools_; }

  /// An empty block with one reference, if need be one whose content is moved out or dropped.
  /// There must be an available one.
  std::int32_t take(KvPool& pool);
  void hold(KvPool& pool, std::int32_t block);
  void let_go(KvPool& pool, std::int32_t block, double now);
  /// Content of `source` is copied to `destination` before the step.
  void copy(KvPool& pool, std::int32_t source, std::int32_t destination);

  /// The node's block in this group with one more reference, brought back to the device where it
  /// was swapped. It is pinned then, as is every node that must stay meanwhile.
  std::int32_t hold_node(KvPool& pool, KvNode& node);
  /// A block of one's own with the node's content. The node is pinned.
  std::int32_t take_copy(KvPool& pool, KvNode& node);
  /// `block`, held, has the node's content from now on; what the node had is given back.
  void show(KvPool& pool, KvNode& node, std::int32_t block);

  void pin(KvPool& pool, KvNode& node);
  void unpin(KvPool& pool, KvNode& node);
  void set_priority(KvNode& node, std::int32_t priority, std::optional<double> duration);
  /// Priorities whose time is over fall back.
  void expire(double now) {
    if (!expiring_.empty() && expiring_.begin()->first <= now) expire_before(now);
  }
  std::size_t expiring() const { return expiring_.size(); }
  void forget_what_nobody_holds();
  /// A step begins to be planned: what moves, or becomes findable, from now on is its doing.
  void begin_step() noexcept {
    moved_before_.swap(moved_);
    moved_.clear();
  }
  /// Forgets what the last two steps moved or made findable, and what continues it. Nobody holds
  /// anything.
  void forget_recent();
  /// As it was made, statistics and events aside. Allocates nothing that it needs.
  void reset() noexcept;

  std::vector<CacheCommand> take_commands() { return std::exchange(commands_, {}); }
  std::vector<KvCacheEvent> take_events();
  /// reused_tokens and missed_tokens are the caller's.
  KvCacheStatistics& counts() { return counts_; }
  const KvCacheStatistics& counts() const { return counts_; }

 private:
  void command(CacheCommand::Kind kind, const KvPool& pool, std::int32_t source,
               std::int32_t destination);
  void event(KvCacheEvent::Kind kind, const KvNode& node);
  /// Bookkeeping alone; gives back what the node had in this group.
  void move(KvPool& pool, KvNode& node, KvTier tier, std::int32_t index);
  void drop(KvPool& pool, KvNode& node);
  /// To the next tier that has room for it, or out of the cache.
  void push_out(KvPool& pool, KvNode& node);
  void prefetch_eviction(const KvPool& pool) const;
  void stop_expiry(KvNode& node);
  void expire_before(double now);

  std::vector<KvPool> pools_;
  KvTree tree_;
  int watched_ = 0;  // group whose moves and references stand for the node: a whole-context one
  std::uint64_t uses_ = 0;
  std::set<std::pair<double, KvNode*>> expiring_;
  std::vector<CacheCommand> commands_;
  /// Nodes that moved in the step at hand and the one before; they may be gone, or others by now.
  std::vector<KvNode*> moved_;
  std::vector<KvNode*> moved_before_;
  KvCacheStatistics counts_;
  std::deque<KvCacheEvent> events_;
  std::size_t event_capacity_;
  std::uint64_t event_id_ = 0;
};

}  // namespace tenon
