// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include "graph/graph.h"

namespace tenon {
namespace {

std::string print_weight(const Weight& weight) {
  std::string out = fmt::format("{} {}", weight.name, to_string(weight.shape));
  for (std::size_t d = 0; d < weight.cut.size(); ++d)
    out += fmt::format("{}{}:{}", d == 0 ? "@(" : ", ", weight.cut[d].first, weight.cut[d].second);
  return weight.cut.empty() ? out : out + ")";
}

template <class Each>
std::string join(std::size_t count, const char* between, Each&& each) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i) out += (i > 0 ? between : "") + each(i);
  return out;
}

std::string print_node(const Graph& graph, const Node& node) {
  std::string line = join(node.outputs.size(), ", ",
                          [&](std::size_t i) { return graph.value(node.outputs[i]).name; });
  line += fmt::format("{}{}(", node.outputs.empty() ? "" : " = ", name_of(node.op));
  line += join(node.inputs.size(), ", ",
               [&](std::size_t i) { return graph.value(node.inputs[i]).name; });
  if (!node.weights.empty()) line += "; ";
  line += join(node.weights.size(), ", ",
               [&](std::size_t i) { return print_weight(graph.weight(node.weights[i])); });
  line += ")";
  if (const std::string attributes = describe(node.op); !attributes.empty())
    line += " " + attributes;
  if (!node.outputs.empty()) line += " : ";
  line += join(node.outputs.size(), ", ",
               [&](std::size_t i) { return to_string(graph.value(node.outputs[i]).type); });
  return line;
}

}  // namespace

std::string print(const Graph& graph) {
  std::string out = fmt::format("graph {}: {} layers, {} nodes, {} weights\n", graph.name,
                                graph.layers, graph.nodes.size(), graph.weights.size());
  for (const auto& [name, axis] : graph.axes)
    out += fmt::format("axis {}: {} units, {} groups, granule {}\n", name, axis.units, axis.groups,
                       axis.granule);
  for (const ValueId id : graph.inputs)
    out += fmt::format("input {} : {}\n", graph.value(id).name, to_string(graph.value(id).type));
  std::int32_t layer = -1;
  for (const Node& node : graph.nodes) {
    if (node.layer != layer) {
      layer = node.layer;
      out += layer < 0 ? "outside layers:\n" : fmt::format("layer {}:\n", layer);
    }
    out += "  " + print_node(graph, node) + "\n";
  }
  for (const ValueId id : graph.outputs)
    out += fmt::format("output {} : {}\n", graph.value(id).name, to_string(graph.value(id).type));
  return out;
}

}  // namespace tenon
