// partition: the pass that alone reads a Mapping. Cuts weights along their axes, makes attributes
// local (heads, vocabulary rows), inserts collectives where a value is a partial sum or must be
// whole, keeps the nodes of this rank's pipeline stage and joins stages by Send and Receive.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/mapping.h"
#include "graph/graph.h"

namespace tenon {

/// Units (or groups, where per_group) of `axis` that tensor-parallel rank `tp` of `tp_size` holds.
/// Runs are as even as granule allows. With groups: up to as many ranks as groups each rank has
/// whole groups; beyond, tp_size must be a multiple of groups and each group's units are divided
/// (its K and V are then held by several ranks).
/// Throws Error{kInvalidArgument} with the rule and the sizes that would work.
Range cut_axis(std::string_view name, const ShardAxis& axis, int tp_size, int tp, bool per_group);

/// tp_size values up to `limit` for which cut_axis works on every axis of the graph.
std::vector<int> possible_tp_sizes(const Graph& graph, int limit);

/// Layers [begin, end) of pipeline stage `pp`. Throws where there are more stages than layers.
Range stage_layers(std::int64_t layers, int pp_size, int pp);

/// The graph of one rank; with a mapping of one rank, the graph as it is. Values named in `taps`
/// are made whole, so that a tap gives the same numbers under every mapping. A linear whose input
/// is cut adds its bias on tensor-parallel rank 0 alone.
Graph partition(const Graph& graph, const Mapping& mapping, int rank,
                const std::set<std::string>& taps = {});

}  // namespace tenon
