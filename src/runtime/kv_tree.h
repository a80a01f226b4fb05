// KvTree: nodes of all prefixes that are known, by salt and tokens. Structure alone: who holds or
// evicts blocks is decided elsewhere. A hash leads to a node; only equal tokens make it a hit.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string_view>
#include <unordered_map>

#include "runtime/kv_cache.h"
#include "runtime/kv_node.h"

namespace tenon {

class KvTree {
 public:
  KvTree(KvBlockHash hash, std::size_t groups) : hash_(hash), groups_(groups) {}

  /// Null where nothing is known under this salt.
  KvNode* find_root(std::string_view salt) const;
  KvNode& root(std::string_view salt);

  /// The node whose block follows `parent` with these tokens; null: none.
  KvNode* find(const KvNode& parent, std::span<const std::int32_t> tokens) const;
  /// As find(), or a new node without places.
  KvNode& add(KvNode& parent, std::span<const std::int32_t> tokens);

  /// A child that begins with the most of `tokens`, among those with content in every group.
  struct Beginning {
    KvNode* node = nullptr;
    std::int64_t tokens = 0;
  };
  Beginning longest_beginning(const KvNode& parent, std::span<const std::int32_t> tokens) const;

  /// Removes the node, and then its ancestors, as long as nothing needs them: no content, no
  /// children, no sequence.
  void prune(KvNode* node);

  /// Forgets every node and root.
  void clear() noexcept {
    roots_.clear();
    by_hash_.clear();
    unused_.clear();
    storage_.clear();
  }

  std::size_t nodes() const { return by_hash_.size(); }
  std::size_t roots() const { return roots_.size(); }
  template <class Visit>
  void for_each(const Visit& visit) const {
    for (const auto& entry : by_hash_) visit(*entry.second);
  }

 private:
  KvNode* take_node();
  static void forget(KvNode& node);

  KvBlockHash hash_;
  std::size_t groups_;
  std::map<std::string, std::unique_ptr<KvNode>, std::less<>> roots_;
  std::unordered_multimap<std::uint64_t, KvNode*> by_hash_;
  std::deque<KvNode> storage_;  // nodes never move
  std::vector<KvNode*> unused_;
};

}  // namespace tenon
