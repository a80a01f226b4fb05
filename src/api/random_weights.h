// Seeded random weights for a graph: models made from a configuration alone.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include "checkpoint/weight_source.h"
#include "graph/programs.h"

namespace tenon {

/// Matrices are nearly normal with standard deviation 0.02, vectors whose name ends in
/// "norm.weight" or "ln_f.weight" are 1, other vectors 0. The same seed and name give the same
/// numbers.
std::unique_ptr<WeightSource> make_random_weights(const ModelGraphs& graphs, DataType dtype,
                                                  std::uint64_t seed);

}  // namespace tenon
