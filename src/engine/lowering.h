// Lowering: a stored graph becomes one rank's program for one backend:
// partition → taps → the backend's fusions → memory plan. Kernels are chosen and weights packed by
// the backend when it loads the result.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "backends/backend.h"
#include "checkpoint/weight_source.h"
#include "graph/passes.h"
#include "graph/programs.h"

namespace tenon {

struct LoweringOptions {
  Mapping mapping;
  int rank = 0;
  Taps taps;
  std::vector<std::string> fusions;  ///< Backend::fusions()
  StepSizes limits;
  std::int64_t slots = 1;
  KernelPolicy policy;
  DataType cache_dtype = DataType::kFloat32;
  std::int64_t tokens_per_block = 32;
};

/// A program and where its weights lie in the whole. Its cache groups have no blocks yet.
struct LoweredProgram {
  Graph graph;  ///< after all passes: for printing
  ProgramDescription description;
  std::vector<Cut> cuts;  ///< of description.weights, in the whole weights
};

/// Layers that can share block tables: same window, same shape of heads. Indices are global
/// cache_layer numbers.
struct CacheGroupLayout {
  std::int64_t window = 0;
  std::vector<std::int64_t> layers;
};
std::vector<CacheGroupLayout> cache_groups(const EngineTraits& traits);

/// Sets the granule of every axis to the quantization groups that cuts must not part.
void set_granules(Graph& graph, const WeightSource& weights);

LoweredProgram lower(const Graph& stored, const EngineTraits& traits, const WeightSource& weights,
                     const LoweringOptions& options);

}  // namespace tenon
