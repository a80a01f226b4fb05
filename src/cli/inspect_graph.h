// The graphs that `inspect --graph` shows: as an engine stores them, or as one rank runs them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "cli/inspect_target.h"
#include "tenon/types.h"

namespace tenon::cli {

struct GraphView {
  Mapping mapping;
  int rank = 0;
  bool fused = false;  ///< after the passes that the CPU backend asks for

  bool is_stored() const { return mapping == Mapping{} && rank == 0 && !fused; }
};

/// Every program. Throws Error{kInvalidArgument} where there is no graph, or no such rank.
std::vector<Graph> graphs_to_show(const InspectTarget& target, const GraphView& view);

}  // namespace tenon::cli
