// GraphBuilder: layers emit nodes through it. Types are inferred as nodes are added, so a mistake
// is reported where it is made.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"

namespace tenon {

class GraphBuilder {
 public:
  explicit GraphBuilder(std::string graph_name);

  ValueId input(std::string name, ValueType type);
  /// Declares a weight, or finds the one of that name (tied embeddings): shapes and marks must agree.
  WeightId weight(std::string name, Shape shape, std::vector<ShardMark> marks = {});
  /// Declares an axis, or checks that the one of that name is the same.
  void axis(std::string name, ShardAxis axis);

  /// Adds a node; returns its outputs, named scope + name (several: name.0, name.1, … unless
  /// `names` gives them).
  std::vector<ValueId> add(Op op, std::vector<ValueId> inputs, std::vector<WeightId> weights,
                           std::vector<std::string> names);
  /// The same for an op with one output.
  ValueId add1(Op op, std::vector<ValueId> inputs, std::vector<WeightId> weights, std::string name);

  void output(ValueId value, std::string name);  ///< renames the value

  /// Layer that nodes added from now on belong to; -1: none.
  void set_layer(std::int32_t layer);

  const ValueType& type(ValueId value) const;
  /// Verifies and gives the graph away.
  Graph finish();

 private:
  Graph graph_;
  std::int32_t layer_ = -1;
};

}  // namespace tenon
