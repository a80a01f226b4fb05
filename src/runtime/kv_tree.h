// KvTree: nodes of all prefixes that are known, by salt and tokens. Structure alone: who holds or
// evicts blocks is decided elsewhere. A hash leads to a node; only equal tokens make it a hit.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string_view>
#include <vector>

#include "runtime/kv_cache.h"
#include "runtime/kv_node_index.h"

namespace tenon {

class KvTree {
 public:
  explicit KvTree(const KvCacheSettings& settings)
      : hash_(settings.block_hash),
        groups_(settings.groups.size()),
        block_tokens_(static_cast<std::size_t>(settings.tokens_per_block)) {}

  /// Null where nothing is known under this salt.
  KvNode* find_root(std::string_view salt) const;
  KvNode& root(std::string_view salt);

  /// The node whose block follows `parent` with these tokens (of one block); null: none.
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

  /// Asks the memory for what the node's removal looks at; the node itself is at hand.
  void prefetch_removal(const KvNode& node) const noexcept;

  /// Forgets every node and root.
  void clear() noexcept;

  std::size_t nodes() const { return index_.size(); }
  std::size_t roots() const { return roots_.size(); }
  template <class Visit>
  void for_each(const Visit& visit) const {
    index_.for_each(visit);
  }

 private:
  /// Nodes with what belongs to them. They never move, and are used again and again.
  struct Chunk {
    Chunk(std::size_t groups, std::size_t block_tokens);
    std::vector<KvNode> nodes;
    std::vector<KvNode::Rest> rests;
    std::vector<KvPlace> far_places;
    std::vector<std::int32_t> tokens;
  };
  KvNode* find(const KvNode& parent, std::uint64_t hash,
               std::span<const std::int32_t> tokens) const;
  KvNode& unused_node();
  void forget(KvNode& node) const;

  KvBlockHash hash_;
  std::size_t groups_;
  std::size_t block_tokens_;
  std::map<std::string_view, std::unique_ptr<KvRoot>> roots_;  // by their own salts
  KvNodeIndex index_;
  std::vector<std::unique_ptr<Chunk>> chunks_;
  std::vector<KvNode*> unused_;  // has room for all
};

}  // namespace tenon
