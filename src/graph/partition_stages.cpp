// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "core/check.h"
#include "graph/partition.h"
#include "graph/partition_parts.h"
#include "graph/rewrite.h"

namespace tenon {
namespace {

/// Stage of each node. Nodes outside layers go with what came before them; those before the first
/// layer to the first stage, those after the last to the last.
std::vector<int> stages_of(const Graph& graph, int pp_size) {
  std::vector<int> stage_of_layer(static_cast<std::size_t>(graph.layers));
  for (int stage = 0; stage < pp_size; ++stage) {
    const Range layers = stage_layers(graph.layers, pp_size, stage);
    for (std::int64_t layer = layers.begin; layer < layers.end; ++layer)
      stage_of_layer[static_cast<std::size_t>(layer)] = stage;
  }
  std::size_t end_of_layers = 0;
  for (std::size_t i = 0; i < graph.nodes.size(); ++i)
    if (graph.nodes[i].layer >= 0) end_of_layers = i + 1;
  std::vector<int> stages(graph.nodes.size(), 0);
  int current = 0;
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    if (graph.nodes[i].layer >= 0)
      current = stage_of_layer[static_cast<std::size_t>(graph.nodes[i].layer)];
    stages[i] = i >= end_of_layers ? pp_size - 1 : current;
  }
  return stages;
}

/// A value that later stages need: it travels from stage to stage until the last that reads it.
struct Traveller {
  ValueId value;
  int from;
  int to;
  bool crosses(int stage) const { return from <= stage && stage < to; }  ///< into stage + 1
};

std::vector<Traveller> travellers_of(const Graph& graph, const std::vector<int>& stages,
                                     int pp_size) {
  const Uses uses = uses_of(graph);
  std::vector<Traveller> travellers;
  for (std::size_t i = 0; i < graph.nodes.size(); ++i)
    for (const ValueId id : graph.nodes[i].outputs) {
      Traveller traveller{id, stages[i], stages[i]};
      for (const std::int32_t reader : uses.readers[static_cast<std::size_t>(id)]) {
        const int stage = stages[static_cast<std::size_t>(reader)];
        TENON_CHECK(stage >= stages[i], ErrorCode::kUnsupported,
                    "graph \"{}\": \"{}\" of pipeline stage {} is read by stage {} before it; the "
                    "nodes of layers must stand in order",
                    graph.name, graph.value(id).name, stages[i], stage);
        traveller.to = std::max(traveller.to, stage);
      }
      if (std::ranges::find(graph.outputs, id) != graph.outputs.end()) traveller.to = pp_size - 1;
      if (traveller.to > traveller.from) travellers.push_back(traveller);
    }
  return travellers;
}

Node receive_of(const Graph& graph, ValueId id, std::int64_t peer) {
  const Value& value = graph.value(id);
  const auto& shape = value.type.shape;
  TENON_CHECK(value.type.kind == ValueKind::kTensor && shape.size() == 2 &&
                  !shape[0].is_constant() && shape[1].is_constant(),
              ErrorCode::kUnsupported,
              "graph \"{}\": \"{}\" {} would have to pass between pipeline stages, which only "
              "[rows, width] can",
              graph.name, value.name, to_string(value.type));
  const Receive receive{peer, shape[0].symbol, shape[1].extent, value.type.dtype};
  return {receive, {}, {id}, {}, -1};
}

}  // namespace

Graph partition_stages(const Graph& graph, const Mapping& mapping, const RankPlace& place) {
  const std::vector<int> stages = stages_of(graph, mapping.pp_size);
  const auto travellers = travellers_of(graph, stages, mapping.pp_size);
  const std::int64_t stride = std::int64_t{mapping.tp_size} * mapping.cp_size;
  Graph part = graph;
  part.nodes.clear();
  // Both sides of a boundary list its values in one order.
  for (const Traveller& one : travellers)
    if (one.crosses(place.pp - 1))
      part.nodes.push_back(receive_of(graph, one.value, place.rank - stride));
  for (std::size_t i = 0; i < graph.nodes.size(); ++i)
    if (stages[i] == place.pp) part.nodes.push_back(graph.nodes[i]);
  for (const Traveller& one : travellers)
    if (one.crosses(place.pp))
      part.nodes.push_back({Send{place.rank + stride}, {one.value}, {}, {}, -1});
  if (place.pp != mapping.pp_size - 1) part.outputs.clear();
  renumber_cache_layers(part);
  compact(part);
  return part;
}

}  // namespace tenon
