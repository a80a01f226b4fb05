// Norms over the features of each row. Weights: name.weight, name.bias [normalized_shape].
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "graph/graph_builder.h"

namespace tenon {

struct RmsNormLayer {
  std::string name;
  std::int64_t normalized_shape = 0;
  double eps = 1e-6;
  double weight_offset = 0.0;  ///< added to the gain (1 in Gemma's files)
  std::string output = {};

  ValueId emit(GraphBuilder& builder, ValueId x) const;
};

struct LayerNormLayer {
  std::string name;
  std::int64_t normalized_shape = 0;
  double eps = 1e-5;
  bool bias = true;
  std::string output = {};

  ValueId emit(GraphBuilder& builder, ValueId x) const;
};

/// Mean and variance of each of num_groups runs of num_channels / num_groups features of a row.
struct GroupNormLayer {
  std::string name;
  std::int64_t num_groups = 1;
  std::int64_t num_channels = 0;
  double eps = 1e-5;
  bool affine_bias = true;
  std::string output = {};

  ValueId emit(GraphBuilder& builder, ValueId x) const;
};

}  // namespace tenon
