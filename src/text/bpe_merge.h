// The merging loop of byte-pair encoding: always the pair of lowest rank, the leftmost of equals.
// Short pieces are scanned, long ones use a heap over a linked list: n log n, never quadratic.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

namespace tenon {

struct BpeSymbol {
  std::int32_t id;      // -1: no piece of the vocabulary (yet)
  std::uint32_t begin;  // bytes of the text that it covers
  std::uint32_t end;
};

struct BpeMerge {
  static constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();
  std::uint32_t rank = kNone;
  std::int32_t id = -1;
};

namespace bpe_detail {

template <class Lookup>
void merge_short(std::vector<BpeSymbol>& symbols, const Lookup& lookup) {
  constexpr std::size_t kMax = 64;
  BpeMerge merges[kMax];
  std::size_t count = symbols.size();
  for (std::size_t i = 0; i + 1 < count; ++i) merges[i] = lookup(symbols[i], symbols[i + 1]);
  while (count > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < count; ++i)
      if (merges[i].rank < merges[best].rank) best = i;
    if (merges[best].rank == BpeMerge::kNone) break;
    symbols[best].id = merges[best].id;
    symbols[best].end = symbols[best + 1].end;
    for (std::size_t i = best + 1; i + 1 < count; ++i) {
      symbols[i] = symbols[i + 1];
      merges[i] = merges[i + 1];
    }
    --count;
    if (best + 1 < count) merges[best] = lookup(symbols[best], symbols[best + 1]);
    if (best > 0) merges[best - 1] = lookup(symbols[best - 1], symbols[best]);
  }
  symbols.resize(count);
}

template <class Lookup>
void merge_long(std::vector<BpeSymbol>& symbols, const Lookup& lookup) {
  constexpr std::uint32_t kEnd = std::numeric_limits<std::uint32_t>::max();
  const auto count = static_cast<std::uint32_t>(symbols.size());
  std::vector<std::uint32_t> next(count), previous(count), rank(count, BpeMerge::kNone);
  std::vector<std::uint64_t> heap;  // rank << 32 | position, lowest first
  const auto later = std::greater<std::uint64_t>{};
  for (std::uint32_t i = 0; i < count; ++i) {
    next[i] = i + 1 < count ? i + 1 : kEnd;
    previous[i] = i > 0 ? i - 1 : kEnd;
    if (i + 1 < count) rank[i] = lookup(symbols[i], symbols[i + 1]).rank;
    if (rank[i] != BpeMerge::kNone) heap.push_back(std::uint64_t{rank[i]} << 32 | i);
  }
  std::make_heap(heap.begin(), heap.end(), later);
  const auto update = [&](std::uint32_t at) {
    rank[at] = next[at] == kEnd ? BpeMerge::kNone : lookup(symbols[at], symbols[next[at]]).rank;
    if (rank[at] == BpeMerge::kNone) return;
    heap.push_back(std::uint64_t{rank[at]} << 32 | at);
    std::push_heap(heap.begin(), heap.end(), later);
  };
  std::vector<bool> dead(count);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const auto at = static_cast<std::uint32_t>(heap.back());
    const auto top_rank = static_cast<std::uint32_t>(heap.back() >> 32);
    heap.pop_back();
    if (dead[at] || rank[at] != top_rank) continue;  // out of date
    const std::uint32_t right = next[at];
    symbols[at].id = lookup(symbols[at], symbols[right]).id;
    symbols[at].end = symbols[right].end;
    dead[right] = true;
    next[at] = next[right];
    if (next[at] != kEnd) previous[next[at]] = at;
    if (previous[at] != kEnd) update(previous[at]);
    update(at);
  }
  std::size_t kept = 0;
  for (std::uint32_t i = 0; i < count; ++i)
    if (!dead[i]) symbols[kept++] = symbols[i];
  symbols.resize(kept);
}

}  // namespace bpe_detail

/// Merges neighbours as long as lookup(left, right) -> BpeMerge knows a pair.
template <class Lookup>
void merge_symbols(std::vector<BpeSymbol>& symbols, const Lookup& lookup) {
  if (symbols.size() <= 64)
    bpe_detail::merge_short(symbols, lookup);
  else
    bpe_detail::merge_long(symbols, lookup);
}

}  // namespace tenon
