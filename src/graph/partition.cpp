// SPDX-License-Identifier: Apache-2.0
#include "graph/partition.h"

#include "core/check.h"
#include "graph/partition_parts.h"

namespace tenon {

Graph partition(const Graph& graph, const Mapping& wanted, int rank,
                const std::set<std::string>& taps) {
  const Mapping mapping = checked_mapping(wanted);
  TENON_CHECK(rank >= 0 && rank < mapping.world_size, ErrorCode::kInvalidArgument,
              "rank {} does not exist: world_size is {}", rank, mapping.world_size);
  const RankPlace place = place_of(mapping, rank);
  Graph part = graph;
  if (mapping.tp_size > 1) {
    check_tp_size(graph, mapping.tp_size);
    part = partition_tensors(graph, mapping.tp_size, place.tp, taps);
  }
  if (mapping.pp_size > 1) part = partition_stages(part, mapping, place);
  verify(part);
  return part;
}

}  // namespace tenon
