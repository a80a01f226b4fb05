// SPDX-License-Identifier: Apache-2.0
#include "runtime/kv_tree.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>
#include <set>

namespace tenon {
namespace {

using Block = std::array<std::int32_t, 2>;

KvCacheSettings settings(std::size_t groups, KvBlockHash hash = kv_block_hash) {
  KvCacheSettings out;
  out.groups.resize(groups, {.blocks = 1});
  out.tokens_per_block = 2;
  out.block_hash = hash;
  return out;
}

std::uint64_t few_hashes(std::uint64_t, std::span<const std::int32_t> tokens) {
  return 1 + static_cast<std::uint64_t>(tokens[0]) % 5;
}

/// Against a set: nodes come and go, many with equal hashes or homes.
void run_index(std::uint64_t hashes, std::uint64_t scale) {
  std::vector<KvNode> nodes(700);
  std::set<const KvNode*> inside;
  std::mt19937 random(1);
  KvNodeIndex index;
  for (KvNode& node : nodes) node.hash = random() % hashes * scale;
  for (int i = 0; i < 20000; ++i) {
    // Between nearly empty and nearly full.
    const bool growing = i / 2500 % 2 == 0;
    KvNode& node = nodes[random() % nodes.size()];
    if (inside.contains(&node)) {
      if (growing && random() % 4 > 0) continue;
      index.erase(node);
      inside.erase(&node);
    } else if (growing) {
      index.insert(node);
      inside.insert(&node);
    }
    ASSERT_EQ(index.size(), inside.size());
    if (i % 500 != 0) continue;
    for (const KvNode& each : nodes)
      ASSERT_EQ(index.find(each.hash, [&](const KvNode& found) { return &found == &each; }),
                inside.contains(&each) ? &each : nullptr);
    std::size_t visited = 0;
    index.for_each([&](const KvNode& each) { visited += inside.count(&each); });
    ASSERT_EQ(visited, inside.size());
  }
  index.clear();
  EXPECT_EQ(index.size(), 0U);
  EXPECT_EQ(index.find(nodes[0].hash, [](const KvNode&) { return true; }), nullptr);
}

TEST(KvNodeIndex, FindsWhatIsInsideAndNothingElse) { run_index(1U << 30U, 1); }
TEST(KvNodeIndex, ManyNodesMayHaveOneHash) { run_index(20, 1); }
TEST(KvNodeIndex, HashesMayDifferInTheirHighBitsAlone) { run_index(300, 1ULL << 48U); }

TEST(KvTree, ChildrenAreFoundByTokensAndByTheirBeginnings) {
  for (const KvBlockHash hash : {&kv_block_hash, &few_hashes}) {
    KvTree tree(settings(1, hash));
    KvNode& root = tree.root("");
    std::vector<KvNode*> children;
    for (std::int32_t i = 0; i < 40; ++i) {
      KvNode& child = tree.add(root, Block{10 * i, i});
      EXPECT_EQ(&tree.add(root, Block{10 * i, i}), &child);
      child.placed = 1;
      children.push_back(&child);
      ASSERT_TRUE(root.children.contains(child));
      for (std::int32_t j = 0; j <= i; ++j) {
        const KvTree::Beginning best = tree.longest_beginning(root, Block{10 * j, -1});
        ASSERT_EQ(best.node, children[static_cast<std::size_t>(j)]);
        ASSERT_EQ(best.tokens, 1);
      }
      ASSERT_EQ(tree.longest_beginning(root, Block{10 * i + 5, i}).node, nullptr);
    }
    EXPECT_EQ(tree.find(*children[0], Block{10, 1}), nullptr) << "a child of another";
    std::ranges::shuffle(children, std::mt19937(2));
    for (KvNode* child : children) {
      const Block tokens = {child->tokens[0], child->tokens[1]};
      ASSERT_EQ(tree.find(root, tokens), child);
      child->placed = 0;
      tree.prune(child);
      if (tree.roots() > 0) {
        ASSERT_EQ(tree.find(root, tokens), nullptr);
      }
    }
    EXPECT_EQ(tree.nodes(), 0U);
    EXPECT_EQ(tree.roots(), 0U);
  }
}

TEST(KvTree, ANodeUsedAgainIsAsNew) {
  KvTree tree(settings(4));
  KvNode* node = &tree.add(tree.root("salt"), Block{1, 2});
  for (std::size_t g = 0; g < 4; ++g) {
    EXPECT_EQ(node->place(g).tier, KvTier::kNone);
    node->place(g).index = static_cast<std::int32_t>(g);
  }
  for (std::size_t g = 0; g < 4; ++g)
    EXPECT_EQ(node->place(g).index, static_cast<std::int32_t>(g)) << "a place of its own";
  node->priority = 7;
  node->limited = true;
  tree.prune(node);
  EXPECT_EQ(tree.roots(), 0U);
  KvNode& again = tree.add(tree.root(""), Block{3, 4});
  ASSERT_EQ(&again, node);
  EXPECT_EQ(again.priority, kDefaultKvPriority);
  EXPECT_FALSE(again.limited);
  for (std::size_t g = 0; g < 4; ++g) EXPECT_EQ(again.place(g).index, -1);
}

TEST(KvTree, APathGoesWithItsLastNode) {
  KvTree tree(settings(2));
  KvNode* node = &tree.root("");
  for (std::int32_t i = 0; i < 1000; ++i) node = &tree.add(*node, Block{i, i});
  EXPECT_EQ(tree.nodes(), 1000U);
  tree.prune(node->parent);
  EXPECT_EQ(tree.nodes(), 1000U) << "it has a child";
  tree.prune(node);
  EXPECT_EQ(tree.nodes(), 0U);
}

}  // namespace
}  // namespace tenon
