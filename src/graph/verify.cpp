// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <string_view>
#include <unordered_set>

#include "core/check.h"
#include "core/utf8.h"
#include "graph/graph.h"
#include "graph/node_types.h"

namespace tenon {
namespace {

class Verifier {
 public:
  Verifier(const Graph& graph, bool stored)
      : graph_(graph), stored_(stored), producer_(graph.values.size(), kUnmade) {}

  void run() {
    check_name(graph_.name, "a graph");
    check(graph_.layers >= 0, "claims {} layers", graph_.layers);
    names(graph_.values, "value");
    names(graph_.weights, "weight");
    axes();
    for (const Weight& weight : graph_.weights) check_weight(weight);
    inputs();
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i) check_node(i);
    for (const ValueId id : graph_.outputs) check_output(id);
    for (std::size_t i = 0; i < producer_.size(); ++i)
      check(producer_[i] != kUnmade, "value \"{}\" is made by no node", graph_.values[i].name);
  }

 private:
  static constexpr std::int32_t kUnmade = -2;
  static constexpr std::int32_t kInput = -1;
  static constexpr std::int64_t kMaxUnits = std::int64_t{1} << 31;

  template <class... Args>
  void check(bool condition, fmt::format_string<Args...> format, Args&&... args) const {
    if (!condition)
      fail(ErrorCode::kCorrupt, "graph \"{}\": {}", graph_.name,
           fmt::format(format, std::forward<Args>(args)...));
  }

  template <class Item>
  void names(const std::vector<Item>& items, const char* kind) const {
    std::unordered_set<std::string_view> seen;
    for (const Item& item : items) {
      check_name(item.name, fmt::format("graph \"{}\": a {}", graph_.name, kind));
      check(seen.insert(item.name).second, "two {}s are named \"{}\"", kind, item.name);
    }
  }

  void axes() const {
    for (const auto& [name, axis] : graph_.axes) {
      check_name(name, fmt::format("graph \"{}\": an axis", graph_.name));
      // Below 2^31, so that cutting them never overflows.
      check(axis.units > 0 && axis.units < kMaxUnits && axis.groups >= 0 && axis.granule > 0,
            "axis \"{}\" has {} units, {} groups and granule {}, expected positive numbers below "
            "2^31",
            name, axis.units, axis.groups, axis.granule);
      check(axis.groups == 0 || axis.units % axis.groups == 0,
            "axis \"{}\": {} groups do not divide {} units", name, axis.groups, axis.units);
    }
  }

  void check_weight(const Weight& weight) const {
    for (const std::int64_t extent : weight.shape)
      check(extent > 0, "weight \"{}\" is {}, expected positive extents", weight.name,
            to_string(weight.shape));
    element_count(weight.shape,
                  fmt::format("graph \"{}\": weight \"{}\"", graph_.name, weight.name));
    check(!stored_ || weight.cut.empty(), "weight \"{}\" is cut, which a stored graph may not be",
          weight.name);
    check(weight.cut.empty() || weight.cut.size() == weight.shape.size(),
          "weight \"{}\" {} has a cut of {} dimensions", weight.name, to_string(weight.shape),
          weight.cut.size());
    for (std::size_t d = 0; d < weight.cut.size(); ++d) {
      const auto [begin, end] = weight.cut[d];
      check(begin >= 0 && end > begin && end - begin == weight.shape[d],
            "weight \"{}\" {}: its cut [{}, {}) does not fit dimension {}", weight.name,
            to_string(weight.shape), begin, end, d);
    }
    std::unordered_set<int> dims;
    for (const ShardMark& mark : weight.marks) {
      check_mark(weight, mark);
      check(dims.insert(mark.dim).second, "weight \"{}\": dimension {} is marked twice",
            weight.name, mark.dim);
    }
  }

  void check_mark(const Weight& weight, const ShardMark& mark) const {
    const auto at = graph_.axes.find(mark.axis);
    check(at != graph_.axes.end(), "weight \"{}\" is marked with the unknown axis \"{}\"",
          weight.name, mark.axis);
    check(mark.dim >= 0 && static_cast<std::size_t>(mark.dim) < weight.shape.size(),
          "weight \"{}\" {}: dimension {} is marked", weight.name, to_string(weight.shape),
          mark.dim);
    const ShardAxis& axis = at->second;
    const std::int64_t count = mark.per_group && axis.groups > 0 ? axis.groups : axis.units;
    const auto dim = static_cast<std::size_t>(mark.dim);
    // By division: the product of hostile numbers may overflow.
    const std::int64_t extent = weight.shape[dim];
    check(mark.extent_per_unit > 0, "weight \"{}\": extent_per_unit is {}", weight.name,
          mark.extent_per_unit);
    const bool fits = weight.cut.empty()
                          ? extent % count == 0 && extent / count == mark.extent_per_unit
                          : weight.cut[dim].second / mark.extent_per_unit <= count;
    check(fits, "weight \"{}\" {}: dimension {} does not fit axis \"{}\", expected {} units of {}",
          weight.name, to_string(weight.shape), mark.dim, mark.axis, count, mark.extent_per_unit);
  }

  void check_id(ValueId id, const std::string& where) const {
    check(id >= 0 && static_cast<std::size_t>(id) < graph_.values.size(),
          "{} names value {}, there are {}", where, id, graph_.values.size());
  }

  void inputs() {
    for (const ValueId id : graph_.inputs) {
      check_id(id, "the inputs");
      check(producer_[static_cast<std::size_t>(id)] == kUnmade, "input \"{}\" is named twice",
            graph_.value(id).name);
      check(graph_.value(id).type.kind == ValueKind::kTensor,
            "input \"{}\" is a cache, expected a tensor", graph_.value(id).name);
      producer_[static_cast<std::size_t>(id)] = kInput;
    }
  }

  void check_output(ValueId id) {
    check_id(id, "the outputs");
    const Value& value = graph_.value(id);
    check(producer_[static_cast<std::size_t>(id)] != kUnmade, "output \"{}\" is made by no node",
          value.name);
    check(value.type.kind == ValueKind::kTensor, "output \"{}\" is a cache, expected a tensor",
          value.name);
    check(outputs_.insert(id).second, "output \"{}\" is named twice", value.name);
  }

  std::string label(std::size_t index) const {
    const Node& node = graph_.nodes[index];
    std::string out = fmt::format("node {} ({}", index, name_of(node.op));
    for (const ValueId id : node.outputs)
      if (id >= 0 && static_cast<std::size_t>(id) < graph_.values.size()) {
        out += fmt::format(" \"{}\"", graph_.value(id).name);
        break;
      }
    return out + ")";
  }

  void check_node(std::size_t index) {
    const Node& node = graph_.nodes[index];
    check(!stored_ || is_plain(node.op),
          "{} has an op that only passes make, which a stored graph may not hold", label(index));
    check(node.layer >= -1 && node.layer < graph_.layers, "{} is of layer {}, there are {}",
          label(index), node.layer, graph_.layers);
    for (const ValueId id : node.inputs) {
      check_id(id, label(index));
      check(producer_[static_cast<std::size_t>(id)] != kUnmade, "{} reads \"{}\" before it is made",
            label(index), graph_.value(id).name);
    }
    for (const WeightId id : node.weights)
      check(id >= 0 && static_cast<std::size_t>(id) < graph_.weights.size(),
            "{} names weight {}, there are {}", label(index), id, graph_.weights.size());
    check_outputs_of(index);
    check_cache(index);
  }

  void check_outputs_of(std::size_t index) {
    const Node& node = graph_.nodes[index];
    const auto types = node_output_types(graph_, node, label(index));
    check(types.size() == node.outputs.size(), "{} has {} outputs, expected {}", label(index),
          node.outputs.size(), types.size());
    for (std::size_t i = 0; i < types.size(); ++i) {
      check_id(node.outputs[i], label(index));
      const Value& value = graph_.value(node.outputs[i]);
      auto& producer = producer_[static_cast<std::size_t>(node.outputs[i])];
      check(producer == kUnmade, "{} makes \"{}\", which is already made", label(index),
            value.name);
      check(value.type == types[i], "\"{}\" is {}, but {} gives {}", value.name,
            to_string(value.type), label(index), to_string(types[i]));
      producer = static_cast<std::int32_t>(index);
    }
  }

  static const CacheWrite* write_of(const Op& op) {
    if (const auto* fused = std::get_if<RopeCacheWrite>(&op)) return &fused->write;
    return std::get_if<CacheWrite>(&op);
  }

  void check_cache(std::size_t index) {
    const Node& node = graph_.nodes[index];
    if (const CacheWrite* write = write_of(node.op))
      check(cached_layers_.insert(write->cache_layer).second,
            "{} writes cache_layer {}, which another node writes", label(index),
            write->cache_layer);
    const auto* attention = std::get_if<Attention>(&node.op);
    if (attention == nullptr || attention->source != AttentionSource::kPagedCache) return;
    const auto writer =
        static_cast<std::size_t>(producer_[static_cast<std::size_t>(node.inputs[1])]);
    const CacheWrite* write = write_of(graph_.nodes[writer].op);
    check(write->cache_layer == attention->cache_layer && write->kv_heads == attention->kv_heads &&
              write->head_dim == attention->head_dim,
          "{} reads cache_layer {} with {} kv_heads of {}, but {} wrote {} with {} of {}",
          label(index), attention->cache_layer, attention->kv_heads, attention->head_dim,
          label(writer), write->cache_layer, write->kv_heads, write->head_dim);
  }

  const Graph& graph_;
  bool stored_;
  std::vector<std::int32_t> producer_;
  std::unordered_set<ValueId> outputs_;
  std::unordered_set<std::int64_t> cached_layers_;
};

}  // namespace

std::vector<ValueType> node_output_types(const Graph& graph, const Node& node,
                                         const std::string& label) {
  std::vector<ValueType> inputs;
  for (const ValueId id : node.inputs) inputs.push_back(graph.value(id).type);
  std::vector<Shape> weights;
  for (const WeightId id : node.weights) weights.push_back(graph.weight(id).shape);
  try {
    return infer_output_types(node.op, inputs, weights);
  } catch (const Error& error) {
    std::string names;
    for (std::size_t i = 0; i < node.weights.size(); ++i)
      names += fmt::format("{}{} \"{}\"", i == 0 ? "; its weights: " : ", ", i,
                           graph.weight(node.weights[i]).name);
    fail(error.code(), "graph \"{}\", {}: {}{}", graph.name, label, error.what(), names);
  }
}

void check_name(const std::string& name, const std::string& what) {
  TENON_CHECK(!name.empty() && name.size() <= 1024, ErrorCode::kCorrupt,
              "{} has a name of {} bytes, expected 1 to 1024", what, name.size());
  for (const char c : name)
    TENON_CHECK(static_cast<unsigned char>(c) >= 0x20 && c != 0x7F, ErrorCode::kCorrupt,
                "{} has a control character in its name", what);
  TENON_CHECK(utf8::is_valid(name), ErrorCode::kCorrupt, "{} has a name that is not UTF-8", what);
}

void verify(const Graph& graph, bool stored) { Verifier(graph, stored).run(); }

}  // namespace tenon
