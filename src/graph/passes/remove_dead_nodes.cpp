// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "graph/passes.h"
#include "graph/rewrite.h"

namespace tenon {
namespace {

/// Does something beside making its outputs: fills a cache, or is one end of a transfer.
bool has_effect(const Op& op) {
  return std::holds_alternative<Send>(op) || std::holds_alternative<Receive>(op) ||
         std::holds_alternative<CacheWrite>(op) || std::holds_alternative<RopeCacheWrite>(op);
}

}  // namespace

void remove_dead_nodes(Graph& graph, const Taps& taps) {
  std::vector<bool> live(graph.values.size());
  for (std::size_t i = 0; i < graph.values.size(); ++i)
    live[i] = taps.contains(graph.values[i].name);
  for (const ValueId id : graph.outputs) live[static_cast<std::size_t>(id)] = true;
  Rewrite rewrite(graph, taps);
  for (auto i = static_cast<std::int32_t>(graph.nodes.size()) - 1; i >= 0; --i) {
    const Node& node = rewrite.node(i);
    const bool needed = std::ranges::any_of(
        node.outputs, [&](ValueId id) { return live[static_cast<std::size_t>(id)]; });
    if (!needed && !has_effect(node.op)) {
      rewrite.kill(i);
      continue;
    }
    for (const ValueId id : node.inputs) live[static_cast<std::size_t>(id)] = true;
  }
  rewrite.finish();
}

}  // namespace tenon
