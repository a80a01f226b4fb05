// SPDX-License-Identifier: Apache-2.0
#include "cli/inspect_graph.h"

#include "backends/cpu/cpu_backend.h"
#include "core/check.h"
#include "engine/lowering.h"
#include "graph/partition.h"
#include "graph/passes.h"

namespace tenon::cli {

std::vector<Graph> graphs_to_show(const InspectTarget& target, const GraphView& view) {
  TENON_CHECK(
      target.graphs.has_value(), ErrorCode::kInvalidArgument, "{}: no graph to show: {}",
      target.name,
      target.problem.empty() ? "a file of tensors says nothing of the model" : target.problem);
  const Mapping mapping = checked_mapping(view.mapping);
  TENON_CHECK(view.rank >= 0 && view.rank < mapping.world_size, ErrorCode::kInvalidArgument,
              "--rank: {} is no rank of {} (tp_size {} x pp_size {})", view.rank,
              mapping.world_size, mapping.tp_size, mapping.pp_size);
  std::vector<Graph> graphs;
  for (const auto& [name, stored] : target.graphs->programs) {
    Graph graph = stored;
    if (!view.is_stored()) {
      set_granules(graph, *target.weights);
      graph = partition(graph, mapping, view.rank);
    }
    if (view.fused) {
      const auto backend = cpu::make_backend({.threads = 1, .pin = false});
      run_passes(graph, backend->fusions(), {});
    }
    graphs.push_back(std::move(graph));
  }
  return graphs;
}

}  // namespace tenon::cli
