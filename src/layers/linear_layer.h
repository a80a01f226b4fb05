// Linear layers: y = x W^T + b. They differ in how W [out_features, in_features] is cut over ranks;
// which ranks there are is not known here, only the axis that the cut follows.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "graph/graph_builder.h"

namespace tenon {

/// Where a dimension lies on a shard axis that somebody declares (GraphBuilder::axis).
struct AxisShare {
  std::string axis;  ///< empty: not cut
  std::int64_t extent_per_unit = 1;
  bool per_group = false;
};

/// Whole on every rank. Weights: name.weight, name.bias; output: `output`, or the layer's name.
struct LinearLayer {
  std::string name;
  std::int64_t in_features = 0;
  std::int64_t out_features = 0;
  bool bias = false;
  std::string output = {};

  ValueId emit(GraphBuilder& builder, ValueId x) const;
};

/// Output features are cut; each rank has its own, or all of them with gather_output.
struct ColumnLinearLayer {
  std::string name;
  std::int64_t in_features = 0;
  std::int64_t out_features = 0;
  bool bias = false;
  AxisShare share = {};
  bool gather_output = false;
  std::string output = {};
  /// Weight to use in place of name.weight (a tied embedding, cut the same way).
  std::string tied_weight = {};

  ValueId emit(GraphBuilder& builder, ValueId x) const;
};

/// Input features are cut, so that ranks hold partial sums; they are added up, the bias once.
struct RowLinearLayer {
  std::string name;
  std::int64_t in_features = 0;
  std::int64_t out_features = 0;
  bool bias = false;
  AxisShare share = {};
  std::string output = {};

  ValueId emit(GraphBuilder& builder, ValueId x) const;
};

}  // namespace tenon
