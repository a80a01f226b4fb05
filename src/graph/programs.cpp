// SPDX-License-Identifier: Apache-2.0
#include "graph/programs.h"

#include "core/check.h"

namespace tenon {
namespace {

constexpr std::size_t kMaxCacheLayers = 1 << 14;

std::int64_t bounded(const Json& json, const char* key, std::string_view where) {
  const std::int64_t value = json.at(key, where).as_int(key);
  TENON_CHECK(value >= 0 && value < (std::int64_t{1} << 40), ErrorCode::kCorrupt,
              "{}: {} is {}, out of range", where, key, value);
  return value;
}

}  // namespace

Json to_json(const ModelGraphs& graphs) {
  Json programs = Json::object();
  for (const auto& [name, graph] : graphs.programs) programs.set(name, to_json(graph));
  Json layers = Json::array();
  for (const EngineTraits::CacheLayer& layer : graphs.traits.cache_layers) {
    Json row = Json::object();
    row.set("kv_heads", layer.kv_heads);
    row.set("head_dim", layer.head_dim);
    row.set("window", layer.window);
    row.set("layer", layer.layer);
    layers.push_back(std::move(row));
  }
  Json traits = Json::object();
  traits.set("cache_layers", std::move(layers));
  traits.set("max_position", graphs.traits.max_position);
  traits.set("vocab_size", graphs.traits.vocab_size);
  traits.set("chunkable", graphs.traits.chunkable);
  Json json = Json::object();
  json.set("programs", std::move(programs));
  json.set("traits", std::move(traits));
  return json;
}

ModelGraphs model_graphs_from_json(const Json& json, std::string_view where) {
  ModelGraphs graphs;
  for (const auto& [name, graph] : json.at("programs", where).as_object("programs"))
    graphs.programs.emplace(name, graph_from_json(graph, fmt::format("{}: {}", where, name)));
  const Json& traits = json.at("traits", where);
  const Json::Array& layers = traits.at("cache_layers", where).as_array("cache_layers");
  TENON_CHECK(layers.size() <= kMaxCacheLayers, ErrorCode::kCorrupt,
              "{}: {} cache layers, more than {}", where, layers.size(), kMaxCacheLayers);
  for (const Json& row : layers)
    graphs.traits.cache_layers.push_back(
        {bounded(row, "kv_heads", where), bounded(row, "head_dim", where),
         bounded(row, "window", where), static_cast<std::int32_t>(bounded(row, "layer", where))});
  graphs.traits.max_position = bounded(traits, "max_position", where);
  graphs.traits.vocab_size = bounded(traits, "vocab_size", where);
  graphs.traits.chunkable = traits.at("chunkable", where).as_bool("chunkable");
  for (const auto& [name, graph] : graphs.programs) {
    verify(graph, /*stored=*/true);
    for (const Node& node : graph.nodes)
      if (const auto* write = std::get_if<CacheWrite>(&node.op))
        TENON_CHECK(
            write->cache_layer >= 0 &&
                write->cache_layer < static_cast<std::int64_t>(graphs.traits.cache_layers.size()),
            ErrorCode::kCorrupt, "{}: {} writes cache layer {}, there are {}", where, name,
            write->cache_layer, graphs.traits.cache_layers.size());
  }
  return graphs;
}

}  // namespace tenon
