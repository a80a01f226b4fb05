// KvNode: one block's tokens in the tree of prefixes, and where each cache group keeps its content.
// Invariant: in a group that holds the whole context a block lies no further from the device than
// the blocks that continue it, so what is found at a node can always be reached from the root.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <string>

namespace tenon {

/// Where content lies, nearest first.
enum class KvTier : std::uint8_t { kDevice, kHost, kDisk, kNone };
inline constexpr std::size_t kKvTiers = 3;

inline constexpr std::int32_t kDefaultKvPriority = 35;

/// Who goes first: lowest priority (0 to 100), then least recently used. `use` differs between any
/// two places of a group that may leave it.
class KvOrder {
 public:
  KvOrder(std::int32_t priority = kDefaultKvPriority, std::uint64_t use = 0)
      : key_(static_cast<std::uint64_t>(priority) << kUseBits | use) {}
  KvOrder with_priority(std::int32_t priority) const {
    return {priority, key_ & ((std::uint64_t{1} << kUseBits) - 1)};
  }
  auto operator<=>(const KvOrder&) const = default;

 private:
  static constexpr int kUseBits = 56;
  std::uint64_t key_;
};

/// A node's content in one cache group.
struct KvPlace {
  KvOrder order;
  /// Nodes that continue this one, by tier in this group. Counted in whole-context groups.
  std::array<std::int32_t, kKvTiers> children{};
  std::int32_t index = -1;  ///< block, or swapped block
  std::int16_t pins = 0;    ///< a start is about to take it: it stays where it is
  KvTier tier = KvTier::kNone;
  bool listed = false;  ///< stands in its pool's list of those that may leave the tier
};

struct KvNode;

/// One of several children. They are in the order of their tokens, so that neighbours share the
/// longest beginnings; to find a place among thousands, most need not be looked at themselves.
class KvChild {
 public:
  explicit KvChild(std::span<const std::int32_t> tokens, KvNode* node = nullptr);
  KvNode* node() const { return node_; }
  bool operator<(const KvChild& other) const;

 private:
  std::uint64_t first_two_;  // in their order
  std::span<const std::int32_t> tokens_;
  KvNode* node_;
};

/// A node's children. Nearly all nodes have one at most, which costs no memory of its own.
class KvChildren {
 public:
  bool empty() const { return only_ == nullptr && all_ == nullptr; }
  KvNode* first() const;  ///< null: none
  bool contains(const KvNode& node) const;
  void insert(KvNode& node);
  void erase(KvNode& node);
  /// Before and after which `tokens` stand in the order of tokens; null: none there. (Where there
  /// is one child, it is the first whatever its tokens.)
  std::array<KvNode*, 2> neighbours(std::span<const std::int32_t> tokens) const;
  template <class Visit>
  void for_each(const Visit& visit) const {
    if (only_ != nullptr) visit(*only_);
    if (all_ == nullptr) return;
    for (const KvChild& child : *all_) visit(*child.node());
  }

 private:
  KvNode* only_ = nullptr;
  std::unique_ptr<std::set<KvChild>> all_;  // never empty; `only_` is null beside it
};

/// What evicting and reusing a block looks at lies in two neighbouring cache lines: in a full cache
/// nodes are cold when their turn comes, and the memory is most of what it costs.
struct alignas(128) KvNode {
  /// What is rarely wanted.
  struct Rest {
    std::set<KvChild>::iterator among_siblings;  ///< where the parent has several children
    double duration = 0;        ///< of the priority, counted from when nobody holds it
    double expires = 0;         ///< when it ends
    std::span<KvPlace> places;  ///< of groups beyond the first two
  };
  static constexpr std::size_t kNearPlaces = 2;

  KvNode* parent = nullptr;  ///< null: a root, which has a salt in place of tokens, and no places
  std::uint64_t hash = 0;
  std::span<std::int32_t> tokens;
  KvChildren children;
  Rest* rest = nullptr;     ///< null in a root
  std::int32_t tails = 0;   ///< sequences whose committed blocks end here
  std::int16_t placed = 0;  ///< groups that have it
  std::int8_t priority = kDefaultKvPriority;
  bool limited : 1 = false;   ///< the priority has a duration
  bool expiring : 1 = false;  ///< nobody holds it: the duration runs
  std::array<KvPlace, kNearPlaces> near_places;

  void prefetch() const noexcept {
    __builtin_prefetch(this);
    __builtin_prefetch(&near_places);
  }
  KvPlace& place(std::size_t group) {
    return group < kNearPlaces ? near_places[group] : rest->places[group - kNearPlaces];
  }
  const KvPlace& place(std::size_t group) const { return const_cast<KvNode*>(this)->place(group); }
};
static_assert(sizeof(KvNode) == 128);

struct KvRoot : KvNode {
  std::string salt;
};

}  // namespace tenon
