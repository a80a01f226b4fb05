// The graph of a program: values, weights by logical name, nodes in execution order. Plain data.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "ops/op_list.h"

namespace tenon {

using ValueId = std::int32_t;
using WeightId = std::int32_t;
inline constexpr std::int32_t kNoId = -1;

struct Value {
  std::string name;  ///< unique; what taps name ("layers.3.attention.q")
  ValueType type;
};

/// An axis along which weights can be cut over ranks. The cuts are the same for all weights on it.
struct ShardAxis {
  std::int64_t units = 0;    ///< heads, features of the feed-forward, rows of the vocabulary
  std::int64_t groups = 0;   ///< units share groups (query heads share KV heads); 0: no groups
  std::int64_t granule = 1;  ///< units that cannot be parted (quantization groups)
  bool operator==(const ShardAxis&) const = default;
};

/// One dimension of a weight lies on a shard axis.
struct ShardMark {
  std::string axis;
  int dim = 0;
  std::int64_t extent_per_unit = 1;  ///< head_dim for heads
  bool per_group = false;            ///< the dimension counts groups (K and V), not units
  bool operator==(const ShardMark&) const = default;
};

/// A weight part: a tensor of the checkpoint. After partition `shape` is the rank's own, and `cut`
/// says which rectangle of the whole it is.
struct Weight {
  std::string name;  ///< logical name, the tensor's name in a checkpoint
  Shape shape;
  std::vector<ShardMark> marks;
  std::vector<std::pair<std::int64_t, std::int64_t>> cut;  ///< per dim [begin, end); empty: whole
};

struct Node {
  Op op;
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  std::vector<WeightId> weights;
  std::int32_t layer = -1;  ///< decoder layer it belongs to; -1: before the first or after the last
};

struct Graph {
  std::string name;  ///< "decoder", "encoder", …
  std::vector<Value> values;
  std::vector<Weight> weights;
  std::vector<Node> nodes;
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  std::map<std::string, ShardAxis> axes;
  std::int32_t layers = 0;

  ValueId find_value(std::string_view name) const;    ///< kNoId where there is none
  WeightId find_weight(std::string_view name) const;  ///< kNoId where there is none
  const Value& value(ValueId id) const { return values[static_cast<std::size_t>(id)]; }
  const Weight& weight(WeightId id) const { return weights[static_cast<std::size_t>(id)]; }
  /// The nodes of one layer as a graph whose inputs are what they read from outside and whose
  /// outputs are what is read outside, for running alone (calibration, comparison). Cached layers
  /// are numbered from 0.
  Graph slice(std::int32_t layer) const;
};

/// Producer index of every value in graph.nodes, -1 for inputs; and the indices of its readers.
struct Uses {
  std::vector<std::int32_t> producer;
  std::vector<std::vector<std::int32_t>> readers;
};
Uses uses_of(const Graph& graph);

/// Throws Error{kCorrupt} naming graph, node and value: ids in range, unique names, each value
/// produced once and before it is read, types as infer_output_types says, outputs produced, marks
/// on known axes that fit the shape, caches read as they were written. With `stored`, fused ops,
/// collectives and cut weights are refused too.
void verify(const Graph& graph, bool stored = false);

/// One line a node: outputs = op(inputs; weights) attributes : types.
std::string print(const Graph& graph);
/// A self-contained HTML page: the graph as boxes by layer, searchable, with types and sizes.
std::string print_html(const Graph& graph);

Json to_json(const Graph& graph);
/// Checks everything (hostile input) and verifies. `stored`: as verify().
Graph graph_from_json(const Json& json, std::string_view where, bool stored = true);

}  // namespace tenon
