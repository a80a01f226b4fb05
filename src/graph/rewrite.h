// What passes share: who reads what, which values must stay, and cleaning up after a rewrite.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <set>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace tenon {

/// Removes values and weights that no node, input or output names, and renumbers the rest.
void compact(Graph& graph);

/// The cache_layer of an op that has one, null for others.
std::int64_t* cache_layer_of(Op& op);

/// Numbers the cached layers that the graph still has from 0, in their order.
void renumber_cache_layers(Graph& graph);

/// A pass at work: it marks nodes dead, puts others in their place, and finish() cleans up.
/// Indices and uses() stay those of the graph as it was when the rewrite began.
class Rewrite {
 public:
  Rewrite(Graph& graph, const std::set<std::string>& taps);

  const Uses& uses() const { return uses_; }
  /// Node that makes `value`, if its op is an OpType and it has not been rewritten; else -1.
  template <class OpType>
  std::int32_t producer(ValueId value) const {
    const std::int32_t node = uses_.producer[static_cast<std::size_t>(value)];
    return node >= 0 && !dead(node) && holds<OpType>(node) ? node : -1;
  }
  template <class OpType>
  bool holds(std::int32_t node) const {
    return std::holds_alternative<OpType>(graph_.nodes[static_cast<std::size_t>(node)].op);
  }
  const std::vector<std::int32_t>& readers(ValueId value) const {
    return uses_.readers[static_cast<std::size_t>(value)];
  }
  /// Named in taps or an output of the graph: must stay, and stay as it is.
  bool pinned(ValueId value) const { return pinned_[static_cast<std::size_t>(value)]; }
  /// Read by `node` alone (once or more) and not pinned: may vanish with it.
  bool only_for(ValueId value, std::int32_t node) const;
  bool dead(std::int32_t node) const { return dead_[static_cast<std::size_t>(node)]; }

  Node& node(std::int32_t index) { return graph_.nodes[static_cast<std::size_t>(index)]; }
  void kill(std::int32_t node) { dead_[static_cast<std::size_t>(node)] = true; }
  /// Removes dead nodes and what only they used.
  void finish();

 private:
  Graph& graph_;
  Uses uses_;
  std::vector<bool> pinned_;
  std::vector<bool> dead_;
};

}  // namespace tenon
