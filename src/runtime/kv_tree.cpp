// SPDX-License-Identifier: Apache-2.0
#include "runtime/kv_tree.h"

#include <algorithm>

#include "core/check.h"
#include "core/hash.h"

namespace tenon {
namespace {

std::uint64_t first_two(std::span<const std::int32_t> tokens) {
  const auto at = [&](std::size_t i) {
    return i < tokens.size() ? static_cast<std::uint32_t>(tokens[i]) ^ 0x80000000U : 0U;
  };
  return static_cast<std::uint64_t>(at(0)) << 32U | at(1);
}

std::int64_t common(std::span<const std::int32_t> a, std::span<const std::int32_t> b) {
  const auto end = std::min(a.size(), b.size());
  std::size_t i = 0;
  while (i < end && a[i] == b[i]) ++i;
  return static_cast<std::int64_t>(i);
}

/// Nodes of a chunk.
constexpr std::size_t kNodes = 256;

}  // namespace

std::uint64_t kv_block_hash(std::uint64_t parent, std::span<const std::int32_t> tokens) {
  const std::uint64_t hash = hash64(std::as_bytes(tokens), parent);
  return hash != 0 ? hash : 1;
}

KvChild::KvChild(std::span<const std::int32_t> tokens, KvNode* node)
    : first_two_(first_two(tokens)), tokens_(tokens), node_(node) {}

bool KvChild::operator<(const KvChild& other) const {
  if (first_two_ != other.first_two_) return first_two_ < other.first_two_;
  return std::ranges::lexicographical_compare(tokens_, other.tokens_);
}

KvNode* KvChildren::first() const { return all_ == nullptr ? only_ : all_->begin()->node(); }

bool KvChildren::contains(const KvNode& node) const {
  if (all_ == nullptr) return only_ == &node;
  const auto found = all_->find(KvChild(node.tokens));
  return found != all_->end() && found->node() == &node;
}

void KvChildren::insert(KvNode& node) {
  if (empty()) {
    only_ = &node;
    return;
  }
  if (all_ == nullptr) {
    auto all = std::make_unique<std::set<KvChild>>();
    only_->rest->among_siblings = all->emplace(only_->tokens, only_).first;
    all_ = std::move(all);
    only_ = nullptr;
  }
  node.rest->among_siblings = all_->emplace(node.tokens, &node).first;
}

void KvChildren::erase(KvNode& node) {
  if (all_ == nullptr) {
    TENON_ASSERT(only_ == &node);
    only_ = nullptr;
    return;
  }
  all_->erase(node.rest->among_siblings);
  if (all_->empty()) all_.reset();
}

std::array<KvNode*, 2> KvChildren::neighbours(std::span<const std::int32_t> tokens) const {
  if (all_ == nullptr) return {only_, nullptr};
  const auto after = all_->lower_bound(KvChild(tokens));
  return {after == all_->begin() ? nullptr : std::prev(after)->node(),
          after == all_->end() ? nullptr : after->node()};
}

KvTree::Chunk::Chunk(std::size_t groups, std::size_t block_tokens)
    : nodes(kNodes),
      rests(kNodes),
      far_places(kNodes * (groups - std::min(groups, KvNode::kNearPlaces))),
      tokens(kNodes * block_tokens) {
  const std::size_t far = far_places.size() / kNodes;
  for (std::size_t i = 0; i < kNodes; ++i) {
    nodes[i].tokens = std::span(tokens).subspan(i * block_tokens, block_tokens);
    nodes[i].rest = &rests[i];
    rests[i].places = std::span(far_places).subspan(i * far, far);
  }
}

KvNode* KvTree::find_root(std::string_view salt) const {
  const auto found = roots_.find(salt);
  return found == roots_.end() ? nullptr : found->second.get();
}

KvNode& KvTree::root(std::string_view salt) {
  if (KvNode* known = find_root(salt)) return *known;
  auto root = std::make_unique<KvRoot>();
  root->salt = salt;
  root->hash = salt.empty() ? 0 : hash64(std::as_bytes(std::span(salt)));
  const std::string_view key = root->salt;
  return *roots_.emplace(key, std::move(root)).first->second;
}

KvNode* KvTree::find(const KvNode& parent, std::uint64_t hash,
                     std::span<const std::int32_t> tokens) const {
  return index_.find(hash, [&](const KvNode& node) {
    return node.parent == &parent && std::ranges::equal(node.tokens, tokens);
  });
}

KvNode* KvTree::find(const KvNode& parent, std::span<const std::int32_t> tokens) const {
  return find(parent, hash_(parent.hash, tokens), tokens);
}

/// Makes new ones where all are used.
KvNode& KvTree::unused_node() {
  if (unused_.empty()) {
    chunks_.push_back(std::make_unique<Chunk>(groups_, block_tokens_));
    unused_.reserve(chunks_.size() * kNodes);
    for (KvNode& node : chunks_.back()->nodes) unused_.push_back(&node);
  }
  return *unused_.back();
}

KvNode& KvTree::add(KvNode& parent, std::span<const std::int32_t> tokens) {
  const std::uint64_t hash = hash_(parent.hash, tokens);
  if (KvNode* known = find(parent, hash, tokens)) return *known;
  KvNode& node = unused_node();
  node.parent = &parent;
  node.hash = hash;
  std::ranges::copy(tokens, node.tokens.begin());
  index_.insert(node);
  parent.children.insert(node);
  unused_.pop_back();
  return node;
}

KvTree::Beginning KvTree::longest_beginning(const KvNode& parent,
                                            std::span<const std::int32_t> tokens) const {
  // In the order of tokens no node begins with more of them than the neighbours of their own place.
  Beginning best;
  for (KvNode* node : parent.children.neighbours(tokens)) {
    if (node == nullptr || node->placed != static_cast<int>(groups_)) continue;
    const std::int64_t count = common(node->tokens, tokens);
    if (count > best.tokens) best = {node, count};
  }
  return best;
}

/// As a new one is, but for the memory that belongs to it.
void KvTree::forget(KvNode& node) const {
  const std::span<std::int32_t> tokens = node.tokens;
  KvNode::Rest* rest = node.rest;
  node = KvNode{};
  node.tokens = tokens;
  node.rest = rest;
  if (groups_ > KvNode::kNearPlaces) std::ranges::fill(rest->places, KvPlace{});
}

void KvTree::prune(KvNode* node) {
  while (node->placed == 0 && node->children.empty() && node->tails == 0) {
    KvNode* parent = node->parent;
    if (parent == nullptr) {
      roots_.erase(roots_.find(static_cast<KvRoot*>(node)->salt));
      return;
    }
    parent->children.erase(*node);
    index_.erase(*node);
    forget(*node);
    unused_.push_back(node);
    node = parent;
  }
}

void KvTree::prefetch_removal(const KvNode& node) const noexcept {
  if (node.parent == nullptr) return;
  index_.prefetch(node.hash);
  node.parent->prefetch();
}

void KvTree::clear() noexcept {
  roots_.clear();
  index_.clear();
  unused_.clear();
  chunks_.clear();
}

}  // namespace tenon
