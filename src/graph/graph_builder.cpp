// SPDX-License-Identifier: Apache-2.0
#include "graph/graph_builder.h"

#include <utility>

#include "core/check.h"
#include "graph/node_types.h"

namespace tenon {

GraphBuilder::GraphBuilder(std::string graph_name) { graph_.name = std::move(graph_name); }

ValueId GraphBuilder::new_value(std::string name, ValueType type) {
  check_name(name, fmt::format("graph \"{}\": a value", graph_.name));
  const auto id = static_cast<ValueId>(graph_.values.size());
  TENON_CHECK(value_ids_.emplace(name, id).second, ErrorCode::kInvalidArgument,
              "graph \"{}\": two values are named \"{}\"; give one another name", graph_.name,
              name);
  graph_.values.push_back({std::move(name), std::move(type)});
  return id;
}

void GraphBuilder::check_value(ValueId id) const {
  TENON_CHECK(id >= 0 && static_cast<std::size_t>(id) < graph_.values.size(),
              ErrorCode::kInvalidArgument, "graph \"{}\": there is no value {}", graph_.name, id);
}

ValueId GraphBuilder::input(std::string name, ValueType type) {
  const ValueId id = new_value(std::move(name), std::move(type));
  graph_.inputs.push_back(id);
  return id;
}

WeightId GraphBuilder::weight(std::string name, Shape shape, std::vector<ShardMark> marks) {
  check_name(name, fmt::format("graph \"{}\": a weight", graph_.name));
  const auto id = static_cast<WeightId>(graph_.weights.size());
  const auto [at, is_new] = weight_ids_.emplace(name, id);
  if (is_new) {
    graph_.weights.push_back({std::move(name), std::move(shape), std::move(marks), {}});
    return id;
  }
  const Weight& known = graph_.weight(at->second);
  TENON_CHECK(known.shape == shape, ErrorCode::kInvalidArgument,
              "graph \"{}\": weight \"{}\" is {} in one place and {} in another", graph_.name, name,
              to_string(known.shape), to_string(shape));
  TENON_CHECK(known.marks == marks, ErrorCode::kInvalidArgument,
              "graph \"{}\": weight \"{}\" is cut differently in two places", graph_.name, name);
  return at->second;
}

void GraphBuilder::axis(std::string name, ShardAxis axis) {
  const auto [at, is_new] = graph_.axes.emplace(std::move(name), axis);
  const ShardAxis& known = at->second;
  TENON_CHECK(
      known == axis, ErrorCode::kInvalidArgument,
      "graph \"{}\": axis \"{}\" has {} units in {} groups (granule {}) in one place, {} in "
      "{} (granule {}) in another",
      graph_.name, at->first, known.units, known.groups, known.granule, axis.units, axis.groups,
      axis.granule);
}

std::vector<ValueId> GraphBuilder::add(Op op, std::vector<ValueId> inputs,
                                       std::vector<WeightId> weights,
                                       std::vector<std::string> names) {
  for (const ValueId id : inputs) check_value(id);
  for (const WeightId id : weights)
    TENON_CHECK(id >= 0 && static_cast<std::size_t>(id) < graph_.weights.size(),
                ErrorCode::kInvalidArgument, "graph \"{}\": there is no weight {}", graph_.name,
                id);
  Node node{std::move(op), std::move(inputs), {}, std::move(weights), layer_};
  const std::string label = names.empty() ? std::string(name_of(node.op)) : names.front();
  std::vector<ValueType> types = node_output_types(graph_, node, fmt::format("node \"{}\"", label));
  TENON_CHECK(names.size() == types.size() || (names.size() == 1 && types.size() > 1),
              ErrorCode::kInvalidArgument,
              "graph \"{}\": node \"{}\" ({}) has {} outputs but {} names", graph_.name, label,
              name_of(node.op), types.size(), names.size());
  const bool numbered = names.size() != types.size();
  for (std::size_t i = 0; i < types.size(); ++i)
    node.outputs.push_back(new_value(numbered ? fmt::format("{}.{}", names.front(), i) : names[i],
                                     std::move(types[i])));
  graph_.nodes.push_back(std::move(node));
  return graph_.nodes.back().outputs;
}

ValueId GraphBuilder::add1(Op op, std::vector<ValueId> inputs, std::vector<WeightId> weights,
                           std::string name) {
  std::vector<std::string> names;
  names.push_back(std::move(name));
  const auto outputs = add(std::move(op), std::move(inputs), std::move(weights), std::move(names));
  TENON_CHECK(outputs.size() == 1, ErrorCode::kInvalidArgument,
              "graph \"{}\": add1 of an op with {} outputs; use add", graph_.name, outputs.size());
  return outputs.front();
}

void GraphBuilder::output(ValueId value, std::string name) {
  check_value(value);
  check_name(name, fmt::format("graph \"{}\": an output", graph_.name));
  Value& renamed = graph_.values[static_cast<std::size_t>(value)];
  if (renamed.name != name) {
    for (const ValueId input : graph_.inputs)
      TENON_CHECK(input != value, ErrorCode::kInvalidArgument,
                  "graph \"{}\": the input \"{}\" cannot be an output under the name \"{}\"",
                  graph_.name, renamed.name, name);
    TENON_CHECK(value_ids_.emplace(name, value).second, ErrorCode::kInvalidArgument,
                "graph \"{}\": two values are named \"{}\"", graph_.name, name);
    value_ids_.erase(renamed.name);
    renamed.name = std::move(name);
  }
  graph_.outputs.push_back(value);
}

void GraphBuilder::set_layer(std::int32_t layer) {
  TENON_CHECK(layer >= -1, ErrorCode::kInvalidArgument, "graph \"{}\": there is no layer {}",
              graph_.name, layer);
  layer_ = layer;
  if (layer >= graph_.layers) graph_.layers = layer + 1;
}

const ValueType& GraphBuilder::type(ValueId value) const {
  check_value(value);
  return graph_.value(value).type;
}

Graph GraphBuilder::finish() {
  verify(graph_);
  value_ids_.clear();
  weight_ids_.clear();
  layer_ = -1;
  return std::exchange(graph_, Graph{});
}

}  // namespace tenon
