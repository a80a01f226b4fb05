// SPDX-License-Identifier: Apache-2.0
#include "runtime/kv_cache.h"

#include <algorithm>
#include <limits>

#include "core/check.h"
#include "runtime/kv_cache_impl.h"

namespace tenon {

KvGlance& KvCache::Impl::glance(Handle handle) {
  TENON_CHECK(handle >= 0 && handle < static_cast<Handle>(glances.size()) &&
                  glances[static_cast<std::size_t>(handle)].live,
              ErrorCode::kInternal, "[kv cache] sequence {} is not there", handle);
  return glances[static_cast<std::size_t>(handle)];
}

KvCache::Handle KvCache::Impl::new_handle() {
  if (unused.empty()) {
    unused.push_back(static_cast<Handle>(sequences.size()));
    sequences.emplace_back();
    glances.emplace_back();
  }
  const Handle handle = unused.back();
  unused.pop_back();
  KvSequence& sequence = sequences[static_cast<std::size_t>(handle)];
  sequence = {};
  glances[static_cast<std::size_t>(handle)] = {.live = true};
  sequence.tables.resize(store.pools().size());
  return handle;
}

std::int64_t KvCache::Impl::room(const KvSequence& sequence) const {
  std::int64_t blocks = std::numeric_limits<std::int32_t>::max();
  for (const KvPool& pool : store.pools()) blocks = std::min(blocks, table(sequence, pool).size());
  return blocks * settings.tokens_per_block;
}

void KvCache::Impl::mark_writer(KvSequence& sequence, int count) {
  const std::int64_t index = sequence.settled / settings.tokens_per_block;
  for (KvPool& pool : store.pools())
    if (index < table(sequence, pool).size())
      pool.add_writer(table(sequence, pool).at(index), count);
}

void KvCache::Impl::settle(KvSequence& sequence, std::int64_t tokens) {
  if (tokens <= sequence.settled) return;
  mark_writer(sequence, -1);
  sequence.settled = tokens;
  mark_writer(sequence, 1);
}

void KvCache::Impl::update_quiet(KvSequence& sequence) {
  constexpr std::int64_t kFar = std::numeric_limits<std::int64_t>::max();
  const std::int64_t size = settings.tokens_per_block;
  const std::int64_t writing = sequence.settled / size;
  std::int64_t& quiet_growth = glance(sequence).quiet_growth;
  quiet_growth = kFar;
  bool quiet = true;
  for (const KvPool& pool : store.pools()) {
    const KvTable& entry = table(sequence, pool);
    quiet_growth = std::min(quiet_growth, entry.size() * size);
    quiet = quiet && !(writing < entry.size() && pool.block(entry.at(writing)).shared());
  }
  if (!quiet) quiet_growth = -1;
  const std::int64_t done =
      sequence.tail == nullptr ? writing : std::min(writing, sequence.committed);
  sequence.quiet_commit = (done + 1) * size;
}

void KvCache::Impl::set_tail(KvSequence& sequence, KvNode* tail) {
  if (tail != nullptr) ++tail->tails;
  if (KvNode* old = std::exchange(sequence.tail, tail)) {
    --old->tails;
    store.tree().prune(old);
  }
}

// Windows move when the next block is wanted: before that nothing would be gained.
void KvCache::Impl::slide(KvPool& pool, KvSequence& sequence, double now) {
  KvTable& entry = table(sequence, pool);
  const std::int64_t first = pool.first_needed(sequence.settled);
  for (std::int64_t i = entry.first; i < std::min(first, entry.size()); ++i) {
    store.let_go(pool, entry.at(i), now);
    entry.blocks[static_cast<std::size_t>(i)] = -1;
    entry.lost.include(i, i + 1);
    glance(sequence).tables_changed = true;
  }
  entry.first = std::max(entry.first, first);
}

// Takes what tokens [settled, tokens) are written to.
void KvCache::Impl::extend(KvPool& pool, KvSequence& sequence, std::int64_t tokens, double now) {
  KvTable& entry = table(sequence, pool);
  const std::int64_t held_before = entry.held();
  const std::int64_t writing = sequence.settled / settings.tokens_per_block;
  if (writing < entry.size() && tokens > sequence.settled &&
      pool.block(entry.at(writing)).shared()) {
    const std::int32_t shared = entry.at(writing);
    const std::int32_t own = store.take(pool);
    store.copy(pool, shared, own);
    pool.add_writer(shared, -1);
    store.let_go(pool, shared, now);
    pool.add_writer(own, 1);
    entry.set(writing, own);
    glance(sequence).tables_changed = true;
  }
  while (entry.size() < blocks_of(tokens)) {
    entry.append(store.take(pool));
    if (entry.size() - 1 == writing) pool.add_writer(entry.at(writing), 1);
    glance(sequence).tables_changed = true;
  }
  if (pool.whole_context()) pool.promise(held_before - entry.held());
}

// False, and nothing has changed, where a pool has not enough for what `tokens` tokens may need
// beyond what is promised to the sequence.
bool KvCache::Impl::raise_promises(KvSequence& sequence, std::int64_t tokens) {
  const std::int64_t reserve = std::max(sequence.reserve, tokens);
  const auto missing = [&](const KvPool& pool) {
    const KvTable& entry = table(sequence, pool);
    const std::int64_t now = std::max(entry.size(), blocks_of(tokens)) -
                             std::max(entry.first, pool.first_needed(sequence.settled));
    return std::max<std::int64_t>(0, std::max(pool.most_held(reserve), now) - entry.promised);
  };
  for (const KvPool& pool : store.pools())
    if (missing(pool) > 0 && missing(pool) > pool.available() - pool.reserved()) return false;
  for (KvPool& pool : store.pools()) {
    const std::int64_t more = missing(pool);
    table(sequence, pool).promised += more;
    pool.promise(more);
  }
  sequence.reserve = reserve;
  return true;
}

// What a block is worth is said by who names it last; who says nothing leaves it as it is.
void KvCache::Impl::retain(const KvSequence& sequence, std::int64_t block, KvNode& node) {
  if (!sequence.has_retention) return;
  const std::int64_t begin = block * settings.tokens_per_block;
  const std::int64_t end = begin + settings.tokens_per_block;
  const KvRetention& retention = sequence.retention;
  if (end > sequence.prompt_tokens) {
    if (retention.decode_priority != kDefaultKvPriority || retention.decode_duration_seconds)
      store.set_priority(node, retention.decode_priority, retention.decode_duration_seconds);
    return;
  }
  const auto touches = [&](const KvRetentionRange& range) {
    return range.begin < end && begin < range.end.value_or(sequence.prompt_tokens);
  };
  const auto range = std::find_if(retention.ranges.rbegin(), retention.ranges.rend(), touches);
  if (range != retention.ranges.rend())
    store.set_priority(node, range->priority, range->duration_seconds);
}

void KvCache::Impl::commit_block(KvSequence& sequence, std::span<const std::int32_t> tokens,
                                 double now) {
  const std::int64_t block = sequence.committed;
  const auto size = static_cast<std::size_t>(settings.tokens_per_block);
  KvNode& node = store.tree().add(*sequence.tail,
                                  tokens.subspan(static_cast<std::size_t>(block) * size, size));
  retain(sequence, block, node);
  for (KvPool& pool : store.pools()) {
    KvTable& entry = table(sequence, pool);
    const std::int32_t own = entry.at(block);
    const KvPlace& place = pool.place(node);
    if (own < 0 || (place.tier == KvTier::kDevice && place.index == own)) continue;
    // One that is merely kept would be one more held, where a fork still holds the own block.
    if (place.tier != KvTier::kDevice || pool.block(place.index).references == 0) {
      store.show(pool, node, own);
      continue;
    }
    store.hold(pool, place.index);
    store.let_go(pool, own, now);
    entry.set(block, place.index);
    glance(sequence).tables_changed = true;
  }
  set_tail(sequence, &node);
  ++sequence.committed;
}

KvCache::KvCache(const KvCacheSettings& settings) : impl_(std::make_unique<Impl>(settings)) {}
KvCache::~KvCache() = default;

bool KvCache::grow(Handle handle, std::int64_t tokens, double now, std::int64_t issued) {
  return tokens <= impl_->glance(handle).quiet_growth ||
         impl_->grow(impl_->live(handle), tokens, now, issued);
}

bool KvCache::Impl::grow(KvSequence& sequence, std::int64_t tokens, double now,
                         std::int64_t issued) {
  const Change change(*this);
  store.expire(now);
  TENON_ASSERT(issued <= room(sequence));
  settle(sequence, issued);
  if (!raise_promises(sequence, tokens)) return false;
  for (KvPool& pool : store.pools()) {
    slide(pool, sequence, now);
    extend(pool, sequence, tokens, now);
  }
  update_quiet(sequence);
  return true;
}

void KvCache::commit(Handle handle, std::span<const std::int32_t> tokens, std::int64_t known,
                     double now) {
  Impl& impl = *impl_;
  KvSequence& sequence = impl.live(handle);
  TENON_ASSERT(known <= static_cast<std::int64_t>(tokens.size()));
  if (known < sequence.quiet_commit) {
    sequence.settled = std::max(sequence.settled, known);
    return;
  }
  const std::int64_t size = impl.settings.tokens_per_block;
  TENON_ASSERT(known <= impl.room(sequence));
  const Impl::Change change(impl);
  impl.store.expire(now);
  impl.settle(sequence, known);
  while (sequence.tail != nullptr && (sequence.committed + 1) * size <= known)
    impl.commit_block(sequence, tokens, now);
  impl.update_quiet(sequence);
}

bool KvCache::can_fork(Handle handle, std::int64_t tokens) const {
  const KvSequence& sequence = impl_->live(handle);
  const std::int64_t count = impl_->blocks_of(tokens);
  return tokens >= 0 && std::ranges::all_of(impl_->store.pools(), [&](const KvPool& pool) {
           const KvTable& table = impl_->table(sequence, pool);
           const std::int64_t first = pool.first_needed(tokens);
           return count <= table.size() && (first >= count || table.first <= first);
         });
}

std::optional<KvCache::Handle> KvCache::fork(Handle handle, std::int64_t tokens,
                                             std::int64_t reserve_tokens, double now,
                                             std::int64_t later_shared) {
  Impl& impl = *impl_;
  const Impl::Change change(impl);
  impl.store.expire(now);
  const std::int64_t size = impl.settings.tokens_per_block;
  const std::int64_t count = impl.blocks_of(tokens);
  const std::int64_t reserve = std::max(reserve_tokens, tokens);
  KvSequence* parent = &impl.live(handle);
  TENON_CHECK(
      can_fork(handle, tokens), ErrorCode::kInternal,
      "[kv cache] {} tokens of sequence {} cannot be shared: it holds {}, of which a window "
      "may have lost the first",
      tokens, handle, impl.room(*parent));
  impl.settle(*parent, tokens);
  for (const KvPool& pool : impl.store.pools()) {
    std::int64_t wanted = pool.most_held(reserve);
    if (pool.whole_context()) {
      wanted -= count + later_shared;
      if (tokens % size != 0) {
        KvBlock block = pool.block(impl.table(*parent, pool).at(count - 1));
        wanted -= block.copies_due();
        ++block.references;
        ++block.writers;
        wanted += block.copies_due();
      }
    }
    if (wanted > pool.available() - pool.reserved()) return std::nullopt;
  }

  const Handle child = impl.new_handle();
  parent = &impl.live(handle);  // they may have moved
  KvSequence& sequence = impl.live(child);
  sequence.reserve = reserve - later_shared * size;
  sequence.settled = tokens;
  sequence.has_retention = parent->has_retention;
  sequence.retention = parent->retention;
  sequence.prompt_tokens = parent->prompt_tokens;
  impl.glance(sequence).tables_changed = true;
  sequence.committed = std::min(parent->committed, tokens / size);
  KvNode* tail = parent->tail;
  for (auto i = parent->committed; i > sequence.committed; --i) tail = tail->parent;
  impl.set_tail(sequence, tail);
  for (KvPool& pool : impl.store.pools()) {
    const KvTable& from = impl.table(*parent, pool);
    KvTable& table = impl.table(sequence, pool);
    table.first = pool.first_needed(tokens);
    table.blocks.assign(from.blocks.begin(), from.blocks.begin() + count);
    std::fill_n(table.blocks.begin(), std::min(table.first, count), -1);
    for (std::int64_t i = table.first; i < count; ++i) impl.store.hold(pool, table.at(i));
    table.changed.include(0, count);
    table.promised = pool.most_held(reserve) - (pool.whole_context() ? later_shared : 0);
    pool.promise(Impl::outstanding(pool, table));
  }
  impl.mark_writer(sequence, 1);
  impl.update_quiet(sequence);
  impl.update_quiet(*parent);
  return child;
}

void KvCache::release(Handle handle, double now) {
  Impl& impl = *impl_;
  const Impl::Change change(impl);
  impl.store.expire(now);
  impl.release(impl.live(handle), now);
  impl.unused.push_back(handle);
}

void KvCache::Impl::release(KvSequence& sequence, double now) {
  mark_writer(sequence, -1);
  for (KvPool& pool : store.pools()) {
    KvTable& entry = table(sequence, pool);
    pool.promise(-outstanding(pool, entry));
    // From the end: of equals the one that continues the other goes first.
    for (std::int64_t i = entry.size() - 1; i >= entry.first; --i) {
      if (i - 4 >= entry.first) pool.prefetch(entry.at(i - 4));
      if (i - 2 >= entry.first) pool.prefetch_node(entry.at(i - 2));
      store.let_go(pool, entry.at(i), now);
    }
  }
  set_tail(sequence, nullptr);
  glance(sequence) = {};
  sequence = {};
}

bool KvCache::has_table_changes(Handle handle) const {
  return impl_->glance(handle).tables_changed;
}

std::vector<BlockTableChange> KvCache::take_table_changes(Handle handle, bool whole) {
  std::vector<BlockTableChange> out;
  bool& tables_changed = impl_->glance(handle).tables_changed;
  if (!tables_changed && !whole) return out;
  const Impl::Change change(*impl_);
  tables_changed = false;
  KvSequence& sequence = impl_->live(handle);
  for (const KvPool& pool : impl_->store.pools()) {
    KvTable& table = impl_->table(sequence, pool);
    KvRange lost = std::exchange(table.lost, {});
    KvRange changed = std::exchange(table.changed, {});
    if (whole) changed = {0, table.size()};
    if (lost.begin < lost.end && (whole || lost.end >= changed.begin)) {
      changed.include(lost.begin, lost.end);
      lost = {};
    }
    for (const KvRange& range : {lost, changed})
      if (range.begin < range.end)
        out.push_back({pool.group(),
                       static_cast<std::int32_t>(range.begin),
                       {table.blocks.begin() + range.begin, table.blocks.begin() + range.end}});
  }
  return out;
}

void KvCache::prefetch(Handle handle) const noexcept {
  if (handle >= 0) __builtin_prefetch(impl_->sequences.data() + handle);
}

void KvCache::prefetch_tail(Handle handle) const noexcept {
  if (handle < 0) return;
  const KvSequence& sequence = impl_->sequences[static_cast<std::size_t>(handle)];
  if (sequence.tail != nullptr) sequence.tail->prefetch();
  __builtin_prefetch(sequence.tables.data());
}

std::vector<CacheCommand> KvCache::take_commands() { return impl_->store.take_commands(); }

std::int64_t KvCache::available_blocks(int group) const {
  return impl_->store.pools().at(static_cast<std::size_t>(group)).available();
}

std::int64_t KvCache::reserved_blocks(int group) const {
  return impl_->store.pools().at(static_cast<std::size_t>(group)).reserved();
}

const KvCacheSettings& KvCache::settings() const { return impl_->settings; }

KvCacheStatistics KvCache::statistics() const {
  KvCacheStatistics out = impl_->store.counts();
  for (const KvPool& pool : impl_->store.pools()) {
    out.total_blocks += pool.blocks();
    out.used_blocks += pool.held();
    out.reusable_blocks += pool.kept();
    out.free_blocks += pool.empty();
    out.swapped_blocks += pool.swapped_in_use();
  }
  return out;
}

std::vector<KvCacheEvent> KvCache::take_events() { return impl_->store.take_events(); }

void KvCache::clear_reusable() {
  const Impl::Change change(*impl_);
  impl_->store.forget_what_nobody_holds();
}

void KvCache::begin_step() noexcept { impl_->store.begin_step(); }
bool KvCache::in_doubt() const { return impl_->doubt != Impl::Doubt::kNone; }
void KvCache::doubt() { impl_->doubt = Impl::Doubt::kAll; }
void KvCache::doubt_recent() { impl_->doubt = std::max(impl_->doubt, Impl::Doubt::kRecent); }

void KvCache::Impl::forget_recent(double now) {
  const Change change(*this);
  for (KvSequence& sequence : sequences)
    if (is_live(sequence)) release(sequence, now);
  store.forget_recent();
}

void KvCache::reset(double now) noexcept {
  Impl& impl = *impl_;
  if (impl.doubt != Impl::Doubt::kAll) try {
      impl.forget_recent(now);
    } catch (...) {
      impl.doubt = Impl::Doubt::kAll;
    }
  if (impl.doubt == Impl::Doubt::kAll) impl.store.reset();
  impl.sequences.clear();
  impl.glances.clear();
  impl.unused.clear();
  impl.doubt = Impl::Doubt::kNone;
}

}  // namespace tenon
