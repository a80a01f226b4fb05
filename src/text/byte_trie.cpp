// SPDX-License-Identifier: Apache-2.0
#include "text/byte_trie.h"

#include <algorithm>

namespace tenon {

ByteTrie::ByteTrie(std::vector<std::pair<std::string_view, std::int32_t>> entries) {
  std::stable_sort(entries.begin(), entries.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::erase_if(entries, [](const auto& entry) { return entry.first.empty(); });
  struct Task {  // entries [begin, end) share `depth` bytes, which lead to `node`
    std::size_t begin, end, depth;
    std::uint32_t node;
  };
  nodes_.resize(1);
  std::vector<Task> tasks = {{0, entries.size(), 0, kRoot}};
  for (std::size_t t = 0; t < tasks.size(); ++t) {
    Task task = tasks[t];
    for (; task.begin < task.end && entries[task.begin].first.size() == task.depth; ++task.begin)
      nodes_[task.node].value = entries[task.begin].second;
    nodes_[task.node].first_child = static_cast<std::uint32_t>(nodes_.size());
    for (std::size_t i = task.begin; i < task.end;) {
      const char label = entries[i].first[task.depth];
      std::size_t end = i + 1;
      while (end < task.end && entries[end].first[task.depth] == label) ++end;
      tasks.push_back({i, end, task.depth + 1, static_cast<std::uint32_t>(nodes_.size())});
      nodes_.push_back({});
      nodes_.back().label = static_cast<std::uint8_t>(label);
      ++nodes_[task.node].child_count;
      i = end;
    }
  }
  std::fill(std::begin(root_), std::end(root_), kNone);
  for (std::uint32_t i = 0; i < nodes_[kRoot].child_count; ++i)
    root_[nodes_[nodes_[kRoot].first_child + i].label] = nodes_[kRoot].first_child + i;
}

ByteTrie::Match ByteTrie::longest_prefix(std::string_view text) const {
  Match best;
  std::uint32_t node = kRoot;
  for (std::size_t i = 0; i < text.size(); ++i) {
    node = step(node, static_cast<std::uint8_t>(text[i]));
    if (node == kNone) break;
    if (value(node) >= 0) best = {i + 1, value(node)};
  }
  return best;
}

}  // namespace tenon
