// SPDX-License-Identifier: Apache-2.0
#include "runtime/kv_store.h"

#include <algorithm>

#include "core/check.h"

namespace tenon {

KvStore::KvStore(const KvCacheSettings& settings)
    : tree_(settings),
      event_capacity_(
          static_cast<std::size_t>(std::max<std::int64_t>(0, settings.event_capacity))) {
  for (std::size_t g = 0; g < settings.groups.size(); ++g)
    pools_.emplace_back(settings, static_cast<int>(g));
  const auto whole = std::ranges::find_if(pools_, &KvPool::whole_context);
  watched_ = whole == pools_.end() ? 0 : whole->group();
  counts_.tokens_per_block = settings.tokens_per_block;
}

void KvStore::command(CacheCommand::Kind kind, const KvPool& pool, std::int32_t source,
                      std::int32_t destination) {
  commands_.push_back({kind, pool.group(), source, destination});
}

void KvStore::event(KvCacheEvent::Kind kind, const KvNode& node) {
  if (event_capacity_ == 0) return;
  if (events_.size() == event_capacity_) events_.pop_front();
  const KvNode& parent = *node.parent;
  KvCacheEvent out;
  out.id = event_id_ + 1;
  out.kind = kind;
  out.block_hash = node.hash;
  out.parent_hash = parent.parent == nullptr ? 0 : parent.hash;
  if (kind == KvCacheEvent::Kind::kStored)
    out.tokens.assign(node.tokens.begin(), node.tokens.end());
  out.priority = node.priority;
  out.on_device = node.place(static_cast<std::size_t>(watched_)).tier == KvTier::kDevice;
  events_.push_back(std::move(out));
  ++event_id_;
}

std::vector<KvCacheEvent> KvStore::take_events() {
  std::vector<KvCacheEvent> out(std::make_move_iterator(events_.begin()),
                                std::make_move_iterator(events_.end()));
  events_.clear();
  return out;
}

void KvStore::move(KvPool& pool, KvNode& node, KvTier tier, std::int32_t index) {
  if (tier != KvTier::kNone) moved_.push_back(&node);
  KvPlace& entry = pool.place(node);
  const KvPlace old = entry;
  pool.unlist(node);
  entry.tier = tier;
  entry.index = index;
  if (old.tier == KvTier::kDevice)
    pool.set_node(old.index, nullptr);
  else if (old.tier != KvTier::kNone)
    pool.give_back_swapped(old.tier, old.index);
  if (tier == KvTier::kDevice) pool.set_node(index, &node);
  pool.refresh(node);
  KvNode& parent = *node.parent;
  if (pool.whole_context() && parent.parent != nullptr) {
    auto& children = pool.place(parent).children;
    if (old.tier != KvTier::kNone) --children[static_cast<std::size_t>(old.tier)];
    if (tier != KvTier::kNone) ++children[static_cast<std::size_t>(tier)];
    pool.refresh(parent);
  }
  if (old.tier == KvTier::kNone) {
    if (++node.placed == 1) event(KvCacheEvent::Kind::kStored, node);
  } else if (tier == KvTier::kNone) {
    if (pool.group() == watched_) stop_expiry(node);
    if (--node.placed == 0) event(KvCacheEvent::Kind::kRemoved, node);
  } else if (pool.group() == watched_ &&
             (old.tier == KvTier::kDevice) != (tier == KvTier::kDevice)) {
    event(KvCacheEvent::Kind::kUpdated, node);
  }
}

void KvStore::drop(KvPool& pool, KvNode& node) {
  const auto leave = [&](KvPool& from) {
    const KvPlace& entry = from.place(node);
    if (entry.tier == KvTier::kNone) return;
    TENON_ASSERT(entry.tier != KvTier::kDevice || from.block(entry.index).references == 0);
    move(from, node, KvTier::kNone, -1);
  };
  if (pool.whole_context()) {
    // Without it no group can restore the node, and nothing continues it.
    TENON_ASSERT(node.children.empty());
    for (KvPool& each : pools_) leave(each);
  } else {
    leave(pool);
  }
  tree_.prune(&node);
}

void KvStore::push_out(KvPool& pool, KvNode& node) {
  const KvPlace old = pool.place(node);
  int nearer = 0;  // nodes that continue it, in tiers it passes
  for (auto t = static_cast<std::size_t>(old.tier) + 1; t < kKvTiers; ++t) {
    const auto tier = static_cast<KvTier>(t);
    nearer += old.children[t];
    if (pool.swapped_capacity(tier) == 0) continue;
    std::int32_t index = pool.take_swapped(tier);
    if (index < 0) {
      KvNode* least = pool.first_to_leave(tier);
      if (least == nullptr) {  // all are wanted by the start that needs the room
        TENON_ASSERT(nearer == 0);
        continue;
      }
      if (old.order < pool.place(*least).order && nearer == 0) continue;
      push_out(pool, *least);
      index = pool.take_swapped(tier);
      TENON_ASSERT(index >= 0);
    }
    const bool from_device = old.tier == KvTier::kDevice;
    command(from_device ? CacheCommand::Kind::kSwapOut : CacheCommand::Kind::kMoveSwapped, pool,
            old.index, index);
    if (from_device) ++counts_.swapped_out_blocks;
    move(pool, node, tier, index);
    return;
  }
  drop(pool, node);
}

std::int32_t KvStore::take(KvPool& pool) {
  if (pool.empty() == 0) {
    KvNode* first = pool.first_to_leave(KvTier::kDevice);
    TENON_ASSERT(first != nullptr);
    ++counts_.evicted_blocks;
    push_out(pool, *first);
    prefetch_eviction(pool);
  }
  return pool.take();
}

/// The next evictions come soon, and what they look at was not used for long. A block's parent is
/// mostly next: the node at hand was asked for when its child's child went.
void KvStore::prefetch_eviction(const KvPool& pool) const {
  const KvNode* next = pool.first_to_leave(KvTier::kDevice);
  if (next == nullptr) return;
  tree_.prefetch_removal(*next);
  const KvNode& parent = *next->parent;
  if (parent.parent != nullptr) {
    tree_.prefetch_removal(parent);
    const KvPlace& place = pool.place(parent);
    if (place.tier == KvTier::kDevice) pool.prefetch(place.index);
  }
  if (const KvNode* second = pool.second_to_leave(KvTier::kDevice)) second->prefetch();
}

void KvStore::hold(KvPool& pool, std::int32_t block) {
  pool.add_reference(block);
  const KvBlock& entry = pool.block(block);
  if (entry.references > 1 || entry.node == nullptr) return;
  if (pool.group() == watched_) stop_expiry(*entry.node);
  pool.refresh(*entry.node);
}

void KvStore::let_go(KvPool& pool, std::int32_t block, double now) {
  if (!pool.drop_reference(block)) return;
  KvNode* node = pool.block(block).node;
  if (node == nullptr) return;
  if (pool.group() == watched_ && node->limited) {
    stop_expiry(*node);
    node->rest->expires = now + node->rest->duration;
    expiring_.emplace(node->rest->expires, node);
    node->expiring = true;
  }
  pool.reorder(*node, {node->priority, ++uses_});
}

void KvStore::copy(KvPool& pool, std::int32_t source, std::int32_t destination) {
  command(CacheCommand::Kind::kCopyBlock, pool, source, destination);
  ++counts_.copied_blocks;
}

std::int32_t KvStore::hold_node(KvPool& pool, KvNode& node) {
  const KvPlace old = pool.place(node);
  if (old.tier == KvTier::kDevice) {
    hold(pool, old.index);
    return old.index;
  }
  const std::int32_t block = take_copy(pool, node);
  move(pool, node, KvTier::kDevice, block);
  if (pool.group() == watched_) stop_expiry(node);
  return block;
}

std::int32_t KvStore::take_copy(KvPool& pool, KvNode& node) {
  TENON_ASSERT(pool.place(node).pins > 0);
  const std::int32_t block = take(pool);
  const KvPlace& source = pool.place(node);
  if (source.tier == KvTier::kDevice) {
    copy(pool, source.index, block);
  } else {
    command(CacheCommand::Kind::kSwapIn, pool, source.index, block);
    ++counts_.swapped_in_blocks;
  }
  pool.reorder(node, {node.priority, ++uses_});
  return block;
}

void KvStore::show(KvPool& pool, KvNode& node, std::int32_t block) {
  move(pool, node, KvTier::kDevice, block);
}

void KvStore::pin(KvPool& pool, KvNode& node) {
  ++pool.place(node).pins;
  pool.refresh(node);
}

void KvStore::unpin(KvPool& pool, KvNode& node) {
  --pool.place(node).pins;
  pool.refresh(node);
}

void KvStore::set_priority(KvNode& node, std::int32_t priority, std::optional<double> duration) {
  node.limited = duration.has_value();
  node.rest->duration = duration.value_or(0);
  if (node.priority == priority) return;
  node.priority = static_cast<std::int8_t>(priority);
  for (KvPool& pool : pools_) pool.reorder(node, pool.place(node).order.with_priority(priority));
  if (node.placed > 0) event(KvCacheEvent::Kind::kUpdated, node);
}

void KvStore::stop_expiry(KvNode& node) {
  if (!node.expiring) return;
  expiring_.erase({node.rest->expires, &node});
  node.expiring = false;
}

void KvStore::expire_before(double now) {
  while (!expiring_.empty() && expiring_.begin()->first <= now) {
    KvNode& node = *expiring_.begin()->second;
    stop_expiry(node);
    set_priority(node, kDefaultKvPriority, std::nullopt);
  }
}

void KvStore::forget_what_nobody_holds() {
  for (KvPool& pool : pools_)
    for (const KvTier tier : {KvTier::kDisk, KvTier::kHost, KvTier::kDevice})
      while (KvNode* node = pool.first_to_leave(tier)) drop(pool, *node);
}

// Newest first: what continues a node was moved after it, mostly.
void KvStore::forget_recent() {
  for (const std::vector<KvNode*>* moved : {&moved_, &moved_before_})
    for (auto at = moved->rbegin(); at != moved->rend(); ++at)
      while ((*at)->placed > 0) {
        KvNode* last = *at;
        while (KvNode* next = last->children.first()) last = next;
        TENON_ASSERT(last->placed > 0);
        for (KvPool& pool : pools_)
          if (pool.place(*last).tier != KvTier::kNone) drop(pool, *last);
      }
  moved_.clear();
  moved_before_.clear();
  commands_.clear();
}

void KvStore::reset() noexcept {
  if (event_capacity_ > 0)
    tree_.for_each([this](const KvNode& node) {
      if (node.placed > 0) try {
          event(KvCacheEvent::Kind::kRemoved, node);
        } catch (const std::bad_alloc&) {
          ++event_id_;  // a gap in the numbers tells of it
        }
    });
  for (KvPool& pool : pools_) pool.reset();
  tree_.clear();
  expiring_.clear();
  commands_.clear();
  moved_.clear();
  moved_before_.clear();
}

}  // namespace tenon
