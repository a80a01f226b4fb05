// SPDX-License-Identifier: Apache-2.0
#include "graph/passes.h"
#include "graph/rewrite.h"

namespace tenon {

// The fused node stands where the Add stood and still gives the sum, so that other readers and
// taps of both values are served.
void fuse_add_norm(Graph& graph, const Taps& taps) {
  Rewrite rewrite(graph, taps);
  for (std::int32_t i = 0; i < static_cast<std::int32_t>(graph.nodes.size()); ++i) {
    if (!rewrite.holds<Add>(i)) continue;
    Node& add = rewrite.node(i);
    const ValueId sum = add.outputs.front();
    if (graph.value(sum).type.shape.size() != 2) continue;
    for (const std::int32_t reader : rewrite.readers(sum)) {
      const auto* norm = std::get_if<Norm>(&rewrite.node(reader).op);
      if (norm == nullptr || rewrite.dead(reader) || norm->kind == NormKind::kGroup) continue;
      add.op = AddNorm{norm->kind, norm->eps, norm->weight_offset, norm->has_bias};
      add.weights = rewrite.node(reader).weights;
      add.outputs = {sum, rewrite.node(reader).outputs.front()};
      rewrite.kill(reader);
      break;
    }
  }
  rewrite.finish();
}

}  // namespace tenon
