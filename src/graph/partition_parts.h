// The two halves of the pass partition: cutting tensors over the ranks of a tensor-parallel group,
// then keeping one pipeline stage.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <set>
#include <string>

#include "core/mapping.h"
#include "graph/graph.h"

namespace tenon {

/// Throws Error{kInvalidArgument} with the sizes that would work where an axis of the graph cannot
/// be cut over `tp_size` ranks.
void check_tp_size(const Graph& graph, int tp_size);

Graph partition_tensors(const Graph& graph, int tp_size, int tp, const std::set<std::string>& taps);

Graph partition_stages(const Graph& graph, const Mapping& mapping, const RankPlace& place);

}  // namespace tenon
