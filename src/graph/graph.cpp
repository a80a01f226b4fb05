// SPDX-License-Identifier: Apache-2.0
#include "graph/graph.h"

#include <algorithm>

#include "core/check.h"
#include "graph/rewrite.h"

namespace tenon {
namespace {

template <class Item>
std::int32_t find_named(const std::vector<Item>& items, std::string_view name) {
  const auto at = std::ranges::find(items, name, &Item::name);
  return at == items.end() ? kNoId : static_cast<std::int32_t>(at - items.begin());
}

/// Values read or written by `graph`'s nodes of `layer`, and which of them cross its border.
struct Border {
  std::vector<bool> made;  ///< by the layer
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
};

Border border_of(const Graph& graph, std::int32_t layer) {
  Border border{std::vector<bool>(graph.values.size()), {}, {}};
  std::vector<bool> read_outside(graph.values.size());
  std::vector<bool> seen(graph.values.size());
  for (const Node& node : graph.nodes)
    for (const ValueId id : node.inputs)
      if (node.layer != layer) read_outside[static_cast<std::size_t>(id)] = true;
  for (const ValueId id : graph.outputs) read_outside[static_cast<std::size_t>(id)] = true;
  for (const Node& node : graph.nodes) {
    if (node.layer != layer) continue;
    for (const ValueId id : node.inputs) {
      const auto at = static_cast<std::size_t>(id);
      if (!border.made[at] && !seen[at]) border.inputs.push_back(id);
      seen[at] = true;
    }
    for (const ValueId id : node.outputs) {
      border.made[static_cast<std::size_t>(id)] = true;
      if (read_outside[static_cast<std::size_t>(id)]) border.outputs.push_back(id);
    }
  }
  return border;
}

}  // namespace

ValueId Graph::find_value(std::string_view wanted) const { return find_named(values, wanted); }

WeightId Graph::find_weight(std::string_view wanted) const { return find_named(weights, wanted); }

Graph Graph::slice(std::int32_t layer) const {
  TENON_CHECK(layer >= 0 && layer < layers, ErrorCode::kInvalidArgument,
              "graph \"{}\" has no layer {}; it has {}, counted from 0", name, layer, layers);
  const Border border = border_of(*this, layer);
  for (const ValueId id : border.inputs)
    TENON_CHECK(value(id).type.kind == ValueKind::kTensor, ErrorCode::kUnsupported,
                "graph \"{}\": layer {} cannot run alone: it reads the cache \"{}\" that another "
                "layer writes",
                name, layer, value(id).name);
  Graph part = *this;
  part.name = fmt::format("{}.layers.{}", name, layer);
  std::erase_if(part.nodes, [&](const Node& node) { return node.layer != layer; });
  part.inputs = border.inputs;
  part.outputs = border.outputs;
  // A cache written for layers beyond alone is no tensor that could leave the graph.
  std::erase_if(part.outputs, [&](ValueId id) { return value(id).type.kind == ValueKind::kCache; });
  renumber_cache_layers(part);
  compact(part);
  return part;
}

Uses uses_of(const Graph& graph) {
  Uses uses{std::vector<std::int32_t>(graph.values.size(), -1),
            std::vector<std::vector<std::int32_t>>(graph.values.size())};
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const auto index = static_cast<std::int32_t>(i);
    for (const ValueId id : graph.nodes[i].outputs)
      uses.producer[static_cast<std::size_t>(id)] = index;
    for (const ValueId id : graph.nodes[i].inputs) {
      auto& readers = uses.readers[static_cast<std::size_t>(id)];
      if (readers.empty() || readers.back() != index) readers.push_back(index);
    }
  }
  return uses;
}

}  // namespace tenon
