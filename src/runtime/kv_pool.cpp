// SPDX-License-Identifier: Apache-2.0
#include "runtime/kv_pool.h"

#include <algorithm>
#include <limits>

#include "core/check.h"

namespace tenon {
namespace {

// Highest number first in the list, so that low numbers are taken first from its end.
void fill(std::vector<std::int32_t>& out, std::int64_t begin, std::int64_t count) {
  out.resize(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<std::int32_t>(begin + count - 1 - static_cast<std::int64_t>(i));
}

const KvCacheGroup& checked(const KvCacheSettings& settings, int group) {
  const KvCacheGroup& sizes = settings.groups[static_cast<std::size_t>(group)];
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  TENON_CHECK(settings.tokens_per_block > 0 && settings.max_step_tokens > 0 && sizes.window >= 0 &&
                  sizes.blocks >= 0 && sizes.blocks <= kMost && sizes.host_blocks >= 0 &&
                  sizes.disk_blocks >= 0 && sizes.host_blocks <= kMost - sizes.disk_blocks,
              ErrorCode::kInvalidArgument,
              "[kv cache] group {}: window {}, {} blocks of {} tokens, {} in the host's memory, {} "
              "on disk, steps of {} tokens: sizes must not be negative and must fit 31 bits",
              group, sizes.window, sizes.blocks, settings.tokens_per_block, sizes.host_blocks,
              sizes.disk_blocks, settings.max_step_tokens);
  return sizes;
}

}  // namespace

KvPool::KvPool(const KvCacheSettings& settings, int group)
    : group_(group),
      sizes_(checked(settings, group)),
      block_tokens_(settings.tokens_per_block),
      max_step_tokens_(settings.max_step_tokens),
      blocks_(static_cast<std::size_t>(sizes_.blocks)) {
  fill(empty_, 0, sizes_.blocks);
  fill(empty_host_, 0, sizes_.host_blocks);
  fill(empty_disk_, sizes_.host_blocks, sizes_.disk_blocks);
}

void KvPool::reset() noexcept {
  std::fill(blocks_.begin(), blocks_.end(), KvBlock{});
  // Their capacities never shrink: they were as full before.
  fill(empty_, 0, sizes_.blocks);
  fill(empty_host_, 0, sizes_.host_blocks);
  fill(empty_disk_, sizes_.host_blocks, sizes_.disk_blocks);
  for (auto& list : leaving_) list.clear();
  held_ = kept_ = promised_ = copies_due_ = 0;
}

std::int64_t KvPool::most_held(std::int64_t tokens) const {
  const std::int64_t all = (tokens + block_tokens_ - 1) / block_tokens_;
  if (whole_context()) return all;
  // A step reads window - 1 tokens before its first. One more: what was sampled last may not have
  // been committed when the next step is planned. They begin anywhere in a block.
  const std::int64_t span = sizes_.window + max_step_tokens_;
  return std::min(all, (span - 1 + block_tokens_ - 1) / block_tokens_ + 1);
}

template <class Change>
void KvPool::change(std::int32_t block, const Change& apply) {
  KvBlock& entry = at(block);
  copies_due_ -= entry.copies_due();
  apply(entry);
  copies_due_ += entry.copies_due();
}

std::int32_t KvPool::take() {
  TENON_ASSERT(!empty_.empty());
  const std::int32_t block = empty_.back();
  empty_.pop_back();
  at(block) = {.references = 1};
  ++held_;
  return block;
}

void KvPool::add_reference(std::int32_t block) {
  change(block, [](KvBlock& entry) { ++entry.references; });
  if (this->block(block).references > 1) return;
  ++held_;
  --kept_;
}

bool KvPool::drop_reference(std::int32_t block) {
  TENON_ASSERT(this->block(block).references > 0);
  change(block, [](KvBlock& entry) { --entry.references; });
  if (this->block(block).references > 0) return false;
  --held_;
  if (this->block(block).node != nullptr)
    ++kept_;
  else
    empty_.push_back(block);
  return true;
}

void KvPool::add_writer(std::int32_t block, int count) {
  change(block, [&](KvBlock& entry) { entry.writers += count; });
}

void KvPool::set_node(std::int32_t block, KvNode* node) {
  change(block, [&](KvBlock& entry) { entry.node = node; });
  if (node == nullptr && this->block(block).references == 0) {
    --kept_;
    empty_.push_back(block);
  }
}

std::int32_t KvPool::take_swapped(KvTier tier) {
  auto& empty = tier == KvTier::kHost ? empty_host_ : empty_disk_;
  if (empty.empty()) return -1;
  const std::int32_t index = empty.back();
  empty.pop_back();
  return index;
}

void KvPool::give_back_swapped(KvTier tier, std::int32_t index) {
  (tier == KvTier::kHost ? empty_host_ : empty_disk_).push_back(index);
}

std::int64_t KvPool::swapped_in_use() const {
  return sizes_.host_blocks + sizes_.disk_blocks -
         static_cast<std::int64_t>(empty_host_.size() + empty_disk_.size());
}

bool KvPool::may_leave(const KvNode& node) const {
  const KvPlace& place = this->place(node);
  if (place.tier == KvTier::kNone || place.pins > 0) return false;
  if (place.tier == KvTier::kDevice && block(place.index).references > 0) return false;
  if (!whole_context()) return true;
  for (std::size_t tier = 0; tier <= static_cast<std::size_t>(place.tier); ++tier)
    if (place.children[tier] > 0) return false;
  return true;
}

// Mostly it is the next to go, or was used last.
void KvPool::list(KvNode& node, KvPlace& place) {
  Leaving& list = leaving_[static_cast<std::size_t>(place.tier)];
  const std::pair entry(place.order, &node);
  const auto hint = !list.empty() && entry < *list.begin() ? list.begin() : list.end();
  if (spare_.empty()) {
    list.insert(hint, entry);
  } else {
    spare_.value() = entry;
    list.insert(hint, std::move(spare_));
  }
  place.listed = true;
}

void KvPool::unlist(KvNode& node) {
  KvPlace& place = this->place(node);
  if (!place.listed) return;
  Leaving& list = leaving_[static_cast<std::size_t>(place.tier)];
  const bool first = list.begin()->second == &node;
  spare_ = list.extract(first ? list.begin() : list.find({place.order, &node}));
  place.listed = false;
}

void KvPool::refresh(KvNode& node) {
  KvPlace& place = this->place(node);
  const bool wanted = may_leave(node);
  if (wanted == place.listed) return;
  if (wanted)
    list(node, place);
  else
    unlist(node);
}

void KvPool::reorder(KvNode& node, const KvOrder& order) {
  unlist(node);
  place(node).order = order;
  refresh(node);
}

KvNode* KvPool::first_to_leave(KvTier tier) const {
  const Leaving& list = leaving_[static_cast<std::size_t>(tier)];
  return list.empty() ? nullptr : list.begin()->second;
}

const KvNode* KvPool::second_to_leave(KvTier tier) const {
  const Leaving& list = leaving_[static_cast<std::size_t>(tier)];
  return list.size() < 2 ? nullptr : std::next(list.begin())->second;
}

}  // namespace tenon
