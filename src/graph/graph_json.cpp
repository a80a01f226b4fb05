// The stored form of a graph. Reading trusts nothing: every member, id and name is checked, and
// nothing is allocated by a number that the text merely claims.
// SPDX-License-Identifier: Apache-2.0
#include <initializer_list>
#include <limits>
#include <string>

#include "core/check.h"
#include "core/nearest_name.h"
#include "graph/graph.h"

namespace tenon {
namespace {

// ---- writing

template <class Number>
Json list_of(const std::vector<Number>& numbers) {
  Json list = Json::array();
  for (const Number number : numbers) list.push_back(std::int64_t{number});
  return list;
}

Json axis_json(const ShardAxis& axis) {
  return Json::Object{{"units", axis.units}, {"groups", axis.groups}, {"granule", axis.granule}};
}

Json mark_json(const ShardMark& mark) {
  return Json::Object{{"axis", mark.axis},
                      {"dim", mark.dim},
                      {"extent_per_unit", mark.extent_per_unit},
                      {"per_group", mark.per_group}};
}

Json weight_json(const Weight& weight) {
  Json object = Json::Object{{"name", weight.name}, {"shape", list_of(weight.shape)}};
  if (!weight.marks.empty()) {
    Json marks = Json::array();
    for (const ShardMark& mark : weight.marks) marks.push_back(mark_json(mark));
    object.set("marks", std::move(marks));
  }
  if (!weight.cut.empty()) {
    Json cut = Json::array();
    for (const auto& [begin, end] : weight.cut)
      cut.push_back(list_of(std::vector<std::int64_t>{begin, end}));
    object.set("cut", std::move(cut));
  }
  return object;
}

Json node_json(const Node& node) {
  return Json::Object{{"op", to_json(node.op)},
                      {"inputs", list_of(node.inputs)},
                      {"outputs", list_of(node.outputs)},
                      {"weights", list_of(node.weights)},
                      {"layer", node.layer}};
}

// ---- reading

/// An object of which every member must be known.
void check_members(const Json& json, const std::string& where,
                   std::initializer_list<const char*> known) {
  for (const auto& [name, value] : json.as_object(where)) {
    bool found = false;
    for (const char* one : known) found = found || name == one;
    if (found) continue;
    const std::vector<std::string> names(known.begin(), known.end());
    fail(ErrorCode::kCorrupt, "{}: unknown member \"{}\"{}", where, name,
         did_you_mean(name, names));
  }
}

const Json& member(const Json& json, const char* key, const std::string& where) {
  return json.at(key, where);
}

std::string text(const Json& json, const char* key, const std::string& where) {
  return member(json, key, where).as_string(where + ": " + key);
}

std::int64_t integer(const Json& json, const char* key, const std::string& where) {
  return member(json, key, where).as_int(where + ": " + key);
}

std::int32_t small(std::int64_t value, const std::string& where) {
  TENON_CHECK(value >= -1 && value <= std::numeric_limits<std::int32_t>::max(), ErrorCode::kCorrupt,
              "{}: {} is out of range", where, value);
  return static_cast<std::int32_t>(value);
}

std::vector<std::int32_t> ids(const Json& json, const char* key, const std::string& where) {
  const std::string place = where + ": " + key;
  std::vector<std::int32_t> out;
  for (const Json& item : member(json, key, where).as_array(place))
    out.push_back(small(item.as_int(place), place));
  return out;
}

ShardAxis read_axis(const Json& json, const std::string& where) {
  check_members(json, where, {"units", "groups", "granule"});
  return {integer(json, "units", where), integer(json, "groups", where),
          integer(json, "granule", where)};
}

ShardMark read_mark(const Json& json, const std::string& where) {
  check_members(json, where, {"axis", "dim", "extent_per_unit", "per_group"});
  return {text(json, "axis", where), small(integer(json, "dim", where), where + ": dim"),
          integer(json, "extent_per_unit", where),
          member(json, "per_group", where).as_bool(where + ": per_group")};
}

Weight read_weight(const Json& json, const std::string& where) {
  check_members(json, where, {"name", "shape", "marks", "cut"});
  Weight weight;
  weight.name = text(json, "name", where);
  const std::string place = fmt::format("{} \"{}\"", where, weight.name.substr(0, 200));
  for (const Json& extent : member(json, "shape", place).as_array(place + ": shape"))
    weight.shape.push_back(extent.as_int(place + ": shape"));
  TENON_CHECK(weight.shape.size() <= 8, ErrorCode::kCorrupt, "{}: {} dimensions, at most 8", place,
              weight.shape.size());
  if (const Json* marks = json.find("marks"))
    for (const Json& mark : marks->as_array(place + ": marks"))
      weight.marks.push_back(read_mark(mark, place + ": marks"));
  if (const Json* cut = json.find("cut"))
    for (const Json& pair : cut->as_array(place + ": cut")) {
      const Json::Array& ends = pair.as_array(place + ": cut");
      TENON_CHECK(ends.size() == 2, ErrorCode::kCorrupt, "{}: cut: expected [begin, end]", place);
      weight.cut.emplace_back(ends[0].as_int(place + ": cut"), ends[1].as_int(place + ": cut"));
    }
  return weight;
}

Node read_node(const Json& json, const std::string& where) {
  check_members(json, where, {"op", "inputs", "outputs", "weights", "layer"});
  return {op_from_json(member(json, "op", where), where), ids(json, "inputs", where),
          ids(json, "outputs", where), ids(json, "weights", where),
          small(integer(json, "layer", where), where + ": layer")};
}

Value read_value(const Json& json, const std::string& where) {
  check_members(json, where, {"name", "type"});
  return {text(json, "name", where), parse_value_type(text(json, "type", where), where + ": type")};
}

}  // namespace

Json to_json(const Graph& graph) {
  Json axes = Json::object();
  for (const auto& [name, axis] : graph.axes) axes.set(name, axis_json(axis));
  Json weights = Json::array();
  for (const Weight& weight : graph.weights) weights.push_back(weight_json(weight));
  Json values = Json::array();
  for (const Value& value : graph.values)
    values.push_back(Json::Object{{"name", value.name}, {"type", to_string(value.type)}});
  Json nodes = Json::array();
  for (const Node& node : graph.nodes) nodes.push_back(node_json(node));
  return Json::Object{{"name", graph.name},
                      {"layers", graph.layers},
                      {"axes", std::move(axes)},
                      {"inputs", list_of(graph.inputs)},
                      {"outputs", list_of(graph.outputs)},
                      {"values", std::move(values)},
                      {"weights", std::move(weights)},
                      {"nodes", std::move(nodes)}};
}

Graph graph_from_json(const Json& json, std::string_view where_view, bool stored) {
  const std::string where(where_view);
  check_members(json, where,
                {"name", "layers", "axes", "inputs", "outputs", "values", "weights", "nodes"});
  Graph graph;
  graph.name = text(json, "name", where);
  graph.layers = small(integer(json, "layers", where), where + ": layers");
  TENON_CHECK(graph.layers >= 0 && graph.layers <= 100000, ErrorCode::kCorrupt,
              "{}: layers is {}, expected 0 to 100000", where, graph.layers);
  for (const auto& [name, axis] : member(json, "axes", where).as_object(where + ": axes"))
    graph.axes[name] = read_axis(axis, fmt::format("{}: axis \"{}\"", where, name));
  graph.inputs = ids(json, "inputs", where);
  graph.outputs = ids(json, "outputs", where);
  const auto each = [&](const char* key, auto&& read) {
    const Json::Array& items = member(json, key, where).as_array(where + ": " + key);
    for (std::size_t i = 0; i < items.size(); ++i)
      read(items[i], fmt::format("{}: {} {}", where, key, i));
  };
  each("values", [&](const Json& item, const std::string& place) {
    graph.values.push_back(read_value(item, place));
  });
  each("weights", [&](const Json& item, const std::string& place) {
    graph.weights.push_back(read_weight(item, place));
  });
  each("nodes", [&](const Json& item, const std::string& place) {
    graph.nodes.push_back(read_node(item, place));
  });
  try {
    verify(graph, stored);
  } catch (const Error& error) {
    fail(error.code(), "{}: {}", where, error.what());
  }
  return graph;
}

}  // namespace tenon
