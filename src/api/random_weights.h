// Seeded random weights for a graph: models made from a configuration alone.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "checkpoint/weight_source.h"
#include "graph/programs.h"

namespace tenon {

/// Matrices are nearly normal with standard deviation 0.02, vectors whose name ends in
/// "norm.weight" or "ln_f.weight" are 1, other vectors 0. The same seed and name give the same
/// numbers, whatever the number of threads. Weights named in `specs` have that form (one of
/// QuantAlgo's), the same numbers rounded to codes under scales that are the same for all groups;
/// the others are of `dtype`.
std::unique_ptr<WeightSource> make_random_weights(const ModelGraphs& graphs, DataType dtype,
                                                  std::uint64_t seed,
                                                  const std::map<std::string, QuantSpec>& specs);

}  // namespace tenon
