// KvNode: one block's tokens in the tree of prefixes, and where each cache group keeps its content.
// Invariant: in a group that holds the whole context a block lies no further from the device than
// the blocks that continue it, so what is found at a node can always be reached from the root.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace tenon {

/// Where content lies, nearest first.
enum class KvTier : std::uint8_t { kDevice, kHost, kDisk, kNone };
inline constexpr std::size_t kKvTiers = 3;

inline constexpr std::int32_t kDefaultKvPriority = 35;

/// Who goes first: lowest priority, then least recently used. `use` differs between any two places
/// of a group.
struct KvOrder {
  std::int32_t priority = kDefaultKvPriority;
  std::uint64_t use = 0;
  auto operator<=>(const KvOrder&) const = default;
};

/// A node's content in one cache group.
struct KvPlace {
  KvTier tier = KvTier::kNone;
  std::int32_t index = -1;  ///< block, or swapped block
  bool listed = false;      ///< stands in its pool's list of those that may leave the tier
  int pins = 0;             ///< a start is about to take it: it stays where it is
  KvOrder order;
  /// Nodes that continue this one, by tier in this group. Counted in whole-context groups.
  std::array<std::int32_t, kKvTiers> children{};
};

struct KvNode;

/// Orders children by their tokens, so that neighbours share the longest beginnings.
struct KvTokenOrder {
  using is_transparent = void;
  bool operator()(const KvNode* a, const KvNode* b) const;
  bool operator()(const KvNode* a, std::span<const std::int32_t> b) const;
  bool operator()(std::span<const std::int32_t> a, const KvNode* b) const;
};

struct KvNode {
  KvNode* parent = nullptr;  ///< null: a root, which has a salt in place of tokens
  std::string salt;
  std::uint64_t hash = 0;
  std::vector<std::int32_t> tokens;
  std::set<KvNode*, KvTokenOrder> children;
  // Where the tree has it: among its parent's children, and by its hash.
  std::set<KvNode*, KvTokenOrder>::iterator among_children;
  std::unordered_multimap<std::uint64_t, KvNode*>::iterator by_hash;
  std::vector<KvPlace> places;  ///< one a group; none in a root
  int placed = 0;               ///< groups that have it
  int tails = 0;                ///< sequences whose committed blocks end here
  std::int32_t priority = kDefaultKvPriority;
  std::optional<double> duration;  ///< of the priority, counted from when nobody holds it
  std::optional<double> expires;   ///< while nobody holds it
};

}  // namespace tenon
