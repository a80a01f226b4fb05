// KvCache::check_invariants(): everything that is counted on the way, counted anew.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <algorithm>
#include <map>

#include "core/check.h"
#include "runtime/kv_cache_impl.h"

namespace tenon {
namespace {

void expect(bool condition, const char* what, std::int64_t where = 0) {
  TENON_CHECK(condition, ErrorCode::kInternal, "[kv cache] {} (at {})", what, where);
}

// What sequences' tables say of one pool.
struct Count {
  std::vector<KvBlock> blocks;
  std::int64_t promised = 0;
};

void check_table(const KvPool& pool, const KvSequence& sequence, const KvTable& table,
                 std::int64_t block_tokens, Count& count) {
  for (std::int64_t i = 0; i < table.size(); ++i) {
    const std::int32_t block = table.at(i);
    expect((block >= 0) == (i >= table.first), "a table has a hole inside its window", i);
    if (block >= 0) ++count.blocks[static_cast<std::size_t>(block)].references;
  }
  const std::int64_t writing = sequence.settled / block_tokens;
  if (writing < table.size()) ++count.blocks[static_cast<std::size_t>(table.at(writing))].writers;
  expect(table.held() <= table.promised, "a sequence holds more than it was promised");
  expect(pool.most_held(sequence.reserve) <= table.promised, "a promise is below the reservation");
  count.promised += pool.whole_context() ? table.promised - table.held() : table.promised;
  expect(table.first <= pool.first_needed(sequence.settled), "a window has moved too far");
  for (auto i = std::max(sequence.settled / block_tokens + 1, table.first); i < table.size(); ++i) {
    const KvBlock& block = pool.block(table.at(i));
    expect(block.references == 1 && block.node == nullptr, "a block to be written is shared", i);
  }
}

void check_path(const KvPool& pool, const KvSequence& sequence, const KvTable& table) {
  const KvNode* node = sequence.tail;
  for (std::int64_t i = sequence.committed - 1; i >= 0; --i, node = node->parent) {
    if (table.at(i) < 0) continue;
    const KvPlace& place = pool.place(*node);
    expect(place.tier == KvTier::kDevice && place.index == table.at(i),
           "a committed block is not its node's", i);
  }
  expect(node == nullptr || node->parent == nullptr, "a path does not begin at a root");
}

void check_blocks(const KvPool& pool, const Count& count) {
  std::int64_t held = 0;
  std::int64_t kept = 0;
  std::int64_t copies = 0;
  for (std::int32_t b = 0; b < pool.blocks(); ++b) {
    const KvBlock& block = pool.block(b);
    const KvBlock& counted = count.blocks[static_cast<std::size_t>(b)];
    expect(block.references == counted.references, "references are miscounted", b);
    expect(block.writers == counted.writers, "writers are miscounted", b);
    held += block.references > 0 ? 1 : 0;
    kept += block.references == 0 && block.node != nullptr ? 1 : 0;
    copies += block.copies_due();
    if (block.node == nullptr) continue;
    const KvPlace& place = pool.place(*block.node);
    expect(place.tier == KvTier::kDevice && place.index == b, "a block's node lies elsewhere", b);
  }
  std::vector<std::int32_t> empty(pool.empty_blocks().begin(), pool.empty_blocks().end());
  std::ranges::sort(empty);
  expect(std::ranges::adjacent_find(empty) == empty.end(), "a block is empty twice");
  for (const std::int32_t b : empty)
    expect(pool.block(b).references == 0 && pool.block(b).node == nullptr, "an empty block is used",
           b);
  expect(held == pool.held() && kept == pool.kept(), "held or kept blocks are miscounted");
  expect(held + kept + pool.empty() == pool.blocks(), "a block is lost");
  expect(copies == pool.copies_due(), "copies are miscounted");
  expect(count.promised == pool.promised(), "promises are miscounted");
  expect(pool.reserved() >= 0 && pool.reserved() <= pool.available(),
         "promises cannot all be kept");
}

void check_node(const KvPool& pool, const KvNode& node) {
  const KvPlace& place = pool.place(node);
  expect(place.pins == 0, "a place is still pinned");
  expect(place.listed == pool.may_leave(node), "a place is listed wrongly");
  if (place.tier == KvTier::kDevice)
    expect(pool.block(place.index).node == &node, "a place's block belongs to another node");
  if (!pool.whole_context()) return;
  expect(place.tier != KvTier::kNone, "a node lacks a whole-context block");
  std::array<std::int32_t, kKvTiers> children{};
  node.children.for_each([&](const KvNode& child) {
    const KvTier tier = pool.place(child).tier;
    expect(tier >= place.tier && tier != KvTier::kNone, "a continuation lies nearer");
    ++children[static_cast<std::size_t>(tier)];
  });
  expect(children == place.children, "continuations are miscounted");
}

void check_swapped(const KvPool& pool, const KvTree& tree) {
  std::vector<std::int32_t> used;
  tree.for_each([&](const KvNode& node) {
    const KvPlace& place = pool.place(node);
    if (place.tier != KvTier::kHost && place.tier != KvTier::kDisk) return;
    const std::int64_t host = pool.swapped_capacity(KvTier::kHost);
    expect((place.index < host) == (place.tier == KvTier::kHost), "a swapped block's tier is wrong",
           place.index);
    used.push_back(place.index);
  });
  expect(static_cast<std::int64_t>(used.size()) == pool.swapped_in_use(),
         "swapped blocks are miscounted");
  for (const KvTier tier : {KvTier::kHost, KvTier::kDisk}) {
    const auto empty = pool.empty_swapped(tier);
    used.insert(used.end(), empty.begin(), empty.end());
  }
  std::ranges::sort(used);
  for (std::size_t i = 0; i < used.size(); ++i)
    expect(used[i] == static_cast<std::int32_t>(i), "a swapped block is lost or used twice",
           used[i]);
}

}  // namespace

void KvCache::check_invariants() const {
  const Impl& impl = *impl_;
  const KvTree& tree = impl.store.tree();
  std::map<const KvNode*, int> tails;
  for (const KvSequence& sequence : impl.sequences)
    if (impl.is_live(sequence) && sequence.tail != nullptr) ++tails[sequence.tail];
  std::size_t expiring = 0;
  tree.for_each([&](const KvNode& node) {
    expiring += node.expiring ? 1 : 0;
    const auto found = tails.find(&node);
    expect(node.tails == (found == tails.end() ? 0 : found->second), "tails are miscounted");
    const auto has_it = [&](const KvPool& pool) { return pool.place(node).tier != KvTier::kNone; };
    expect(node.placed == std::ranges::count_if(impl.store.pools(), has_it),
           "places are miscounted");
    expect(node.placed > 0 || node.tails > 0 || !node.children.empty(), "a node is of no use");
    expect(node.parent->children.contains(node), "a child is lost");
    expect(node.hash == impl.settings.block_hash(node.parent->hash, node.tokens),
           "a node has another's hash");
  });
  expect(expiring == impl.store.expiring(), "nodes whose priority ends are miscounted");
  for (const KvPool& pool : impl.store.pools()) {
    Count count{.blocks = std::vector<KvBlock>(static_cast<std::size_t>(pool.blocks()))};
    for (const KvSequence& sequence : impl.sequences) {
      if (!impl.is_live(sequence)) continue;
      const KvTable& table = impl.table(sequence, pool);
      check_table(pool, sequence, table, impl.settings.tokens_per_block, count);
      check_path(pool, sequence, table);
    }
    check_blocks(pool, count);
    check_swapped(pool, tree);
    tree.for_each([&](const KvNode& node) { check_node(pool, node); });
  }
}

}  // namespace tenon
