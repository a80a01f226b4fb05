// The types that a node's outputs must have, with errors that name graph, node and weights.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "graph/graph.h"

namespace tenon {

/// infer_output_types over the node's inputs and weights, whose ids must be in range. `label` ends
/// the sentence 'graph "decoder", …'.
std::vector<ValueType> node_output_types(const Graph& graph, const Node& node,
                                         const std::string& label);

/// Throws Error{kCorrupt} where `name` is empty, longer than 1024 bytes, no UTF-8, or has control
/// characters; `what` says whose name it is.
void check_name(const std::string& name, const std::string& what);

}  // namespace tenon
