// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <tuple>

#include "graph/passes.h"
#include "graph/rewrite.h"

namespace tenon {
namespace {

constexpr std::int64_t kMaxSegments = 16;

/// Appends `from`'s segments to `into`'s: matrices first, then biases.
void append(Node& into, const Node& from) {
  auto& op = std::get<Linear>(into.op);
  const auto& added = std::get<Linear>(from.op);
  into.weights.insert(into.weights.begin() + op.segments, from.weights.begin(),
                      from.weights.begin() + added.segments);
  into.weights.insert(into.weights.end(), from.weights.begin() + added.segments,
                      from.weights.end());
  into.outputs.insert(into.outputs.end(), from.outputs.begin(), from.outputs.end());
  op.segments += added.segments;
}

}  // namespace

// The merged node stands where the first stood: all read nothing but x, and every output stays a
// value of its own, so taps lose nothing. Only within a layer: all layers' cross-attention reads
// one x, and one matrix of them all would keep its outputs alive throughout.
void merge_linears(Graph& graph, const Taps& taps) {
  Rewrite rewrite(graph, taps);
  std::map<std::tuple<ValueId, std::int32_t, bool>, std::int32_t> first;
  for (std::int32_t i = 0; i < static_cast<std::int32_t>(graph.nodes.size()); ++i) {
    Node& node = rewrite.node(i);
    const auto* linear = std::get_if<Linear>(&node.op);
    if (linear == nullptr || linear->gather_output) continue;
    const auto [at, is_first] =
        first.try_emplace({node.inputs.front(), node.layer, linear->has_bias}, i);
    if (is_first) continue;
    Node& merged = rewrite.node(at->second);
    if (std::get<Linear>(merged.op).segments + linear->segments > kMaxSegments) {
      at->second = i;
      continue;
    }
    append(merged, node);
    rewrite.kill(i);
  }
  rewrite.finish();
}

}  // namespace tenon
