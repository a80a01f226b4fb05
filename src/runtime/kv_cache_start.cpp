// Finding the longest prefix that every group can restore, and taking it for a new sequence.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "core/check.h"
#include "runtime/kv_cache_impl.h"

namespace tenon {
namespace {

void check(const KvRetention& retention) {
  const auto check = [](const char* what, std::int32_t priority, std::optional<double> duration) {
    TENON_CHECK(priority >= 0 && priority <= 100 && (!duration || *duration >= 0),
                ErrorCode::kInvalidArgument,
                "[kv cache] retention: {} {} for {} seconds; expected a priority of 0 to 100 and a "
                "duration that is not negative",
                what, priority, duration.value_or(0));
  };
  for (const KvRetentionRange& range : retention.ranges)
    check("priority", range.priority, range.duration_seconds);
  check("decode_priority", retention.decode_priority, retention.decode_duration_seconds);
}

}  // namespace

KvCache::Impl::Prefix KvCache::Impl::find(const KvStart& start) const {
  Prefix out;
  KvNode* const root = settings.reuse && start.reuse ? store.tree().find_root(start.salt) : nullptr;
  if (root == nullptr || start.tokens.empty()) return out;
  const auto tokens = start.tokens.first(start.tokens.size() - 1);  // the last one always runs
  const auto size = static_cast<std::size_t>(settings.tokens_per_block);

  // Blocks in a row, up to the node at hand, that each group has.
  std::vector<std::int64_t> row(store.pools().size(), 0);
  std::size_t restorable = 0;
  const KvNode* node = root;
  for (std::size_t begin = 0; begin + size <= tokens.size(); begin += size) {
    KvNode* next = store.tree().find(*node, tokens.subspan(begin, size));
    if (next == nullptr) break;
    out.nodes.push_back(next);
    node = next;
    const auto blocks = static_cast<std::int64_t>(out.nodes.size());
    bool all = true;
    for (const KvPool& pool : store.pools()) {
      const auto g = static_cast<std::size_t>(pool.group());
      row[g] = next->place(g).tier == KvTier::kNone ? 0 : row[g] + 1;
      all = all && row[g] >= blocks - pool.first_needed(blocks * settings.tokens_per_block);
    }
    if (all) restorable = out.nodes.size();
  }
  out.nodes.resize(restorable);
  if (!settings.partial_reuse) return out;
  const auto rest = tokens.subspan(restorable * size);
  const auto beginning = store.tree().longest_beginning(restorable == 0 ? *root : *out.nodes.back(),
                                                        rest.first(std::min(size, rest.size())));
  out.partial = beginning.node;
  out.partial_tokens = beginning.tokens;
  return out;
}

// Every reservation, the new one included, stays honourable; and while content is fetched, what it
// is fetched from can stay where it is.
bool KvCache::Impl::has_room(const Prefix& prefix, std::int64_t reserve) const {
  const auto count = static_cast<std::int64_t>(prefix.nodes.size());
  for (const KvPool& pool : store.pools()) {
    const auto g = static_cast<std::size_t>(pool.group());
    const auto kept = [&](const KvNode& node) {
      const KvPlace& place = node.place(g);
      return place.tier == KvTier::kDevice && pool.block(place.index).references == 0;
    };
    std::int64_t revived = 0;  // kept blocks that are held from now on
    std::int64_t fetched = 0;
    for (auto i = pool.first_needed(prefix.tokens(settings.tokens_per_block)); i < count; ++i) {
      const KvNode& node = *prefix.nodes[static_cast<std::size_t>(i)];
      revived += kept(node) ? 1 : 0;
      fetched += node.place(g).tier != KvTier::kDevice ? 1 : 0;
    }
    std::int64_t wanted = pool.most_held(reserve);
    if (pool.whole_context()) wanted += revived + fetched - count;
    if (wanted > pool.available() - pool.reserved()) return false;
    if (prefix.partial == nullptr) continue;
    revived += kept(*prefix.partial) ? 1 : 0;
    if (fetched + 1 + revived > pool.available()) return false;
  }
  return true;
}

void KvCache::Impl::take_prefix(KvSequence& sequence, const Prefix& prefix) {
  const auto count = static_cast<std::int64_t>(prefix.nodes.size());
  // Blocks that lie before a window are not pinned: they may make room for those that are taken.
  const auto for_each_taken = [&](const auto& visit) {
    for (KvPool& pool : store.pools())
      for (std::int64_t i = table(sequence, pool).first; i < count; ++i)
        visit(pool, *prefix.nodes[static_cast<std::size_t>(i)], i);
  };
  for (KvPool& pool : store.pools()) {
    KvTable& entry = table(sequence, pool);
    entry.first = pool.first_needed(prefix.tokens(settings.tokens_per_block));
    entry.blocks.assign(static_cast<std::size_t>(count), -1);
    entry.changed.include(0, count);
    if (prefix.partial != nullptr) store.pin(pool, *prefix.partial);
  }
  for_each_taken([&](KvPool& pool, KvNode& node, std::int64_t) { store.pin(pool, node); });
  for_each_taken([&](KvPool& pool, KvNode& node, std::int64_t i) {
    table(sequence, pool).set(i, store.hold_node(pool, node));
  });
  for (KvPool& pool : store.pools()) {
    if (prefix.partial == nullptr) continue;
    table(sequence, pool).append(store.take_copy(pool, *prefix.partial));
  }
  for_each_taken([&](KvPool& pool, KvNode& node, std::int64_t) { store.unpin(pool, node); });
  if (prefix.partial != nullptr)
    for (KvPool& pool : store.pools()) store.unpin(pool, *prefix.partial);
  glance(sequence).tables_changed = true;
}

std::int64_t KvCache::reusable_tokens(const KvStart& start) const {
  return impl_->find(start).tokens(impl_->settings.tokens_per_block);
}

bool KvCache::fits(std::int64_t reserve_tokens) const {
  return std::ranges::all_of(impl_->store.pools(), [&](const KvPool& pool) {
    return pool.most_held(reserve_tokens) <= pool.blocks();
  });
}

std::optional<KvCache::Started> KvCache::start(const KvStart& start, double now) {
  Impl& impl = *impl_;
  if (start.retention != nullptr) check(*start.retention);
  const Impl::Change change(impl);
  impl.store.expire(now);
  const auto size = static_cast<std::int64_t>(start.tokens.size());
  const std::int64_t reserve = std::max(start.reserve_tokens, size);
  Impl::Prefix prefix = impl.find(start);
  if (!impl.has_room(prefix, reserve)) {
    if (prefix.partial == nullptr) return std::nullopt;
    // The block to copy would have to make room for the copy.
    prefix.partial = nullptr;
    prefix.partial_tokens = 0;
    if (!impl.has_room(prefix, reserve)) return std::nullopt;
  }

  const Handle handle = impl.new_handle();
  KvSequence& sequence = impl.live(handle);
  sequence.reserve = reserve;
  sequence.prompt_tokens = start.prompt_tokens < 0 ? size : start.prompt_tokens;
  if (start.retention != nullptr) {
    sequence.has_retention = true;
    sequence.retention = *start.retention;
  }
  // The tail first: it keeps the path in the tree, whatever content makes room.
  if (impl.settings.reuse)
    impl.set_tail(sequence,
                  prefix.nodes.empty() ? &impl.store.tree().root(start.salt) : prefix.nodes.back());
  impl.take_prefix(sequence, prefix);
  sequence.settled = prefix.tokens(impl.settings.tokens_per_block);
  sequence.committed = static_cast<std::int64_t>(prefix.nodes.size());
  for (KvPool& pool : impl.store.pools()) {
    KvTable& table = impl.table(sequence, pool);
    table.promised = pool.most_held(reserve);
    pool.promise(Impl::outstanding(pool, table));
  }
  if (sequence.has_retention)
    for (std::size_t i = 0; i < prefix.nodes.size(); ++i)
      impl.retain(sequence, static_cast<std::int64_t>(i), *prefix.nodes[i]);
  impl.mark_writer(sequence, 1);
  impl.update_quiet(sequence);

  KvCacheStatistics& counts = impl.store.counts();
  counts.reused_tokens += static_cast<std::uint64_t>(sequence.settled);
  counts.missed_tokens += static_cast<std::uint64_t>(size - sequence.settled);
  return Started{handle, sequence.settled};
}

}  // namespace tenon
