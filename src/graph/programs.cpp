// SPDX-License-Identifier: Apache-2.0
#include "graph/programs.h"

#include <set>

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

/// The traits describe the cache that the graph writes, layer by layer.
void check_cache(const Graph& graph, const EngineTraits& traits, std::string_view where,
                 std::set<std::int64_t>& written) {
  for (const Node& node : graph.nodes) {
    const auto* write = std::get_if<CacheWrite>(&node.op);
    if (write == nullptr) continue;
    TENON_CHECK(write->cache_layer >= 0 && write->cache_layer < std::ssize(traits.cache_layers),
                ErrorCode::kCorrupt, "{}: {} writes cache layer {}, there are {}", where,
                graph.name, write->cache_layer, traits.cache_layers.size());
    const auto& layer = traits.cache_layers[static_cast<std::size_t>(write->cache_layer)];
    TENON_CHECK(
        layer.kv_heads == write->kv_heads && layer.head_dim == write->head_dim &&
            layer.layer == node.layer,
        ErrorCode::kCorrupt,
        "{}: cache layer {} is {} heads of {} in layer {}, but {} writes {} of {} in layer {}",
        where, write->cache_layer, layer.kv_heads, layer.head_dim, layer.layer, graph.name,
        write->kv_heads, write->head_dim, node.layer);
    written.insert(write->cache_layer);
  }
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
  std::set<std::int64_t> written;
  for (const auto& [name, graph] : graphs.programs)
    check_cache(graph, graphs.traits, where, written);
  TENON_CHECK(written.size() == layers.size(), ErrorCode::kCorrupt,
              "{}: {} cache layers, but the programs write {}", where, layers.size(),
              written.size());
  return graphs;
}

}  // namespace tenon
