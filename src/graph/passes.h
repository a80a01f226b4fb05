// Rewrites of a graph at load, one a file in passes/. Each leaves a graph that verifies and gives
// the same numbers; values named in `taps` stay as they are and stop fusion across them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <set>
#include <span>
#include <string>

#include "graph/graph.h"

namespace tenon {

using Taps = std::set<std::string>;

struct Pass {
  const char* name;
  void (*run)(Graph& graph, const Taps& taps);
};

void fuse_add_norm(Graph& graph, const Taps& taps);          ///< Add, Norm → AddNorm
void merge_linears(Graph& graph, const Taps& taps);          ///< Linears of one x → one, segments
void fuse_gated_linear(Graph& graph, const Taps& taps);      ///< gate, up, GatedActivation → one
void fuse_rope_cache_write(Graph& graph, const Taps& taps);  ///< Rope, Rope, CacheWrite → one
void fold_scales(Graph& graph, const Taps& taps);            ///< constant factors into what follows
void remove_dead_nodes(Graph& graph, const Taps& taps);

/// In the order they run. A backend names those it wants (Backend::fusions).
std::span<const Pass> all_passes();

/// Runs the named passes in all_passes' order and verifies after each; names the pass in errors.
void run_passes(Graph& graph, std::span<const std::string> names, const Taps& taps);

/// Those taps whose values `graph` makes or is given: a pipeline stage has some of the whole's.
Taps taps_within(const Graph& graph, const Taps& taps);

/// Adds each tap's value to the graph's outputs. Throws Error{kInvalidArgument} with the nearest
/// name where there is no such value.
void attach_taps(Graph& graph, const Taps& taps);

}  // namespace tenon
