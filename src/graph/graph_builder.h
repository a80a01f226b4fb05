// GraphBuilder: layers emit nodes through it. Types are inferred as nodes are added, so a mistake
// is reported where it is made.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "graph/graph.h"

namespace tenon {

class GraphBuilder {
 public:
  explicit GraphBuilder(std::string graph_name);

  ValueId input(std::string name, ValueType type);
  /// Declares a weight, or finds the one of that name (tied): shapes and marks must agree.
  WeightId weight(std::string name, Shape shape, std::vector<ShardMark> marks = {});
  /// Declares an axis, or checks that the one of that name is the same.
  void axis(std::string name, ShardAxis axis);

  /// Adds a node of the layer that set_layer() gave; returns its outputs. `names` gives one name
  /// each, or one for several: name.0, name.1, …
  std::vector<ValueId> add(Op op, std::vector<ValueId> inputs, std::vector<WeightId> weights,
                           std::vector<std::string> names);
  /// The same for an op with one output.
  ValueId add1(Op op, std::vector<ValueId> inputs, std::vector<WeightId> weights, std::string name);

  /// Makes `value` an output; it takes this name, by which the runtime finds it.
  void output(ValueId value, std::string name);

  /// Layer that nodes added from now on belong to; -1: none. Graph::layers follows the highest.
  void set_layer(std::int32_t layer);

  const ValueType& type(ValueId value) const;
  /// Verifies and gives the graph away.
  Graph finish();

 private:
  ValueId new_value(std::string name, ValueType type);
  void check_value(ValueId id) const;

  Graph graph_;
  std::unordered_map<std::string, ValueId> value_ids_;
  std::unordered_map<std::string, WeightId> weight_ids_;
  std::int32_t layer_ = -1;
};

}  // namespace tenon
