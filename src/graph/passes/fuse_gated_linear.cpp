// SPDX-License-Identifier: Apache-2.0
#include <optional>

#include "graph/passes.h"
#include "graph/rewrite.h"

namespace tenon {
namespace {

/// Where one operand of the activation comes from.
struct Segment {
  std::int32_t node = -1;
  WeightId matrix = kNoId;
  WeightId bias = kNoId;
};

/// `value` as a segment of a Linear, if `reader` alone reads it.
std::optional<Segment> segment_of(Rewrite& rewrite, ValueId value, std::int32_t reader) {
  const std::int32_t index = rewrite.producer<Linear>(value);
  if (index < 0 || !rewrite.only_for(value, reader)) return std::nullopt;
  const Node& node = rewrite.node(index);
  const auto& linear = std::get<Linear>(node.op);
  if (linear.gather_output) return std::nullopt;
  std::size_t at = 0;
  while (node.outputs[at] != value) ++at;
  Segment segment{index, node.weights[at], kNoId};
  if (linear.has_bias) segment.bias = node.weights[static_cast<std::size_t>(linear.segments) + at];
  return segment;
}

std::int64_t segments_of(Rewrite& rewrite, const Segment& segment) {
  return std::get<Linear>(rewrite.node(segment.node).op).segments;
}

}  // namespace

// The fused node stands where the activation stood; gate and up vanish as values.
void fuse_gated_linear(Graph& graph, const Taps& taps) {
  Rewrite rewrite(graph, taps);
  for (std::int32_t i = 0; i < static_cast<std::int32_t>(graph.nodes.size()); ++i) {
    if (!rewrite.holds<GatedActivation>(i)) continue;
    Node& node = rewrite.node(i);
    if (node.inputs[0] == node.inputs[1]) continue;
    const auto gate = segment_of(rewrite, node.inputs[0], i);
    const auto up = segment_of(rewrite, node.inputs[1], i);
    if (!gate || !up) continue;
    const ValueId x = rewrite.node(gate->node).inputs.front();
    const bool has_bias = gate->bias != kNoId;
    if (rewrite.node(up->node).inputs.front() != x || has_bias != (up->bias != kNoId)) continue;
    // Every segment of the Linears must go: one of two, or two of one each.
    if (segments_of(rewrite, *gate) != (gate->node == up->node ? 2 : 1) ||
        segments_of(rewrite, *up) != segments_of(rewrite, *gate))
      continue;
    rewrite.kill(gate->node);
    rewrite.kill(up->node);
    node.op = GatedLinear{std::get<GatedActivation>(node.op).kind, has_bias};
    node.inputs = {x};
    node.weights = {gate->matrix, up->matrix};
    if (has_bias) node.weights.insert(node.weights.end(), {gate->bias, up->bias});
  }
  rewrite.finish();
}

}  // namespace tenon
