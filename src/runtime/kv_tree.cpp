// SPDX-License-Identifier: Apache-2.0
#include "runtime/kv_tree.h"

#include <algorithm>

#include "core/check.h"
#include "core/hash.h"

namespace tenon {
namespace {

bool less(std::span<const std::int32_t> a, std::span<const std::int32_t> b) {
  return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end());
}

std::int64_t common(std::span<const std::int32_t> a, std::span<const std::int32_t> b) {
  const auto end = std::min(a.size(), b.size());
  std::size_t i = 0;
  while (i < end && a[i] == b[i]) ++i;
  return static_cast<std::int64_t>(i);
}

}  // namespace

std::uint64_t kv_block_hash(std::uint64_t parent, std::span<const std::int32_t> tokens) {
  const std::uint64_t hash = hash64(std::as_bytes(tokens), parent);
  return hash != 0 ? hash : 1;
}

bool KvTokenOrder::operator()(const KvNode* a, const KvNode* b) const {
  return less(a->tokens, b->tokens);
}
bool KvTokenOrder::operator()(const KvNode* a, std::span<const std::int32_t> b) const {
  return less(a->tokens, b);
}
bool KvTokenOrder::operator()(std::span<const std::int32_t> a, const KvNode* b) const {
  return less(a, b->tokens);
}

KvNode* KvTree::find_root(std::string_view salt) const {
  const auto found = roots_.find(salt);
  return found == roots_.end() ? nullptr : found->second.get();
}

KvNode& KvTree::root(std::string_view salt) {
  if (KvNode* known = find_root(salt)) return *known;
  auto node = std::make_unique<KvNode>();
  node->salt = salt;
  node->hash = salt.empty() ? 0 : hash64(std::as_bytes(std::span(salt)));
  return *roots_.emplace(node->salt, std::move(node)).first->second;
}

KvNode* KvTree::find(const KvNode& parent, std::span<const std::int32_t> tokens) const {
  const auto [begin, end] = by_hash_.equal_range(hash_(parent.hash, tokens));
  for (auto entry = begin; entry != end; ++entry)
    if (entry->second->parent == &parent && std::ranges::equal(entry->second->tokens, tokens))
      return entry->second;
  return nullptr;
}

/// As a new node is, but that its vectors keep their memory: blocks come and go all the time.
void KvTree::forget(KvNode& node) {
  std::vector<std::int32_t> tokens = std::move(node.tokens);
  std::vector<KvPlace> places = std::move(node.places);
  tokens.clear();
  places.clear();
  node = KvNode{};
  node.tokens = std::move(tokens);
  node.places = std::move(places);
}

KvNode* KvTree::take_node() {
  if (unused_.empty()) return &storage_.emplace_back();
  KvNode* node = unused_.back();
  unused_.pop_back();
  return node;
}

KvNode& KvTree::add(KvNode& parent, std::span<const std::int32_t> tokens) {
  if (KvNode* known = find(parent, tokens)) return *known;
  KvNode* node = take_node();
  node->parent = &parent;
  node->hash = hash_(parent.hash, tokens);
  node->tokens.assign(tokens.begin(), tokens.end());
  node->places.assign(groups_, {});
  node->by_hash = by_hash_.emplace(node->hash, node);
  node->among_children = parent.children.insert(node).first;
  return *node;
}

KvTree::Beginning KvTree::longest_beginning(const KvNode& parent,
                                            std::span<const std::int32_t> tokens) const {
  // In the order of tokens no node begins with more of them than the neighbours of their own place.
  Beginning best;
  const auto consider = [&](KvNode* node) {
    const std::int64_t count = common(node->tokens, tokens);
    if (count > best.tokens && node->placed == static_cast<int>(groups_)) best = {node, count};
  };
  const auto after = parent.children.lower_bound(tokens);
  if (after != parent.children.end()) consider(*after);
  if (after != parent.children.begin()) consider(*std::prev(after));
  return best;
}

void KvTree::prune(KvNode* node) {
  while (node->placed == 0 && node->children.empty() && node->tails == 0) {
    KvNode* parent = node->parent;
    if (parent == nullptr) {
      roots_.erase(roots_.find(node->salt));
      return;
    }
    parent->children.erase(node->among_children);
    by_hash_.erase(node->by_hash);
    forget(*node);
    unused_.push_back(node);
    node = parent;
  }
}

}  // namespace tenon
