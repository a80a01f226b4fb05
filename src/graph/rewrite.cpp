// SPDX-License-Identifier: Apache-2.0
#include "graph/rewrite.h"

#include <map>
#include <utility>

namespace tenon {
namespace {

/// New id of each old one that `used` marks (kNoId for the rest); `items` keeps those alone.
template <class Item>
std::vector<std::int32_t> keep_used(std::vector<Item>& items, const std::vector<bool>& used) {
  std::vector<std::int32_t> renumbered(items.size(), kNoId);
  std::size_t kept = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (!used[i]) continue;
    renumbered[i] = static_cast<std::int32_t>(kept);
    if (kept != i) items[kept] = std::move(items[i]);
    ++kept;
  }
  items.resize(kept);
  return renumbered;
}

void mark(const std::vector<std::int32_t>& ids, std::vector<bool>& used) {
  for (const std::int32_t id : ids) used[static_cast<std::size_t>(id)] = true;
}

void renumber(std::vector<std::int32_t>& ids, const std::vector<std::int32_t>& renumbered) {
  for (std::int32_t& id : ids) id = renumbered[static_cast<std::size_t>(id)];
}

}  // namespace

void compact(Graph& graph) {
  std::vector<bool> values(graph.values.size());
  std::vector<bool> weights(graph.weights.size());
  mark(graph.inputs, values);
  mark(graph.outputs, values);
  for (const Node& node : graph.nodes) {
    mark(node.inputs, values);
    mark(node.outputs, values);
    mark(node.weights, weights);
  }
  const auto new_values = keep_used(graph.values, values);
  const auto new_weights = keep_used(graph.weights, weights);
  renumber(graph.inputs, new_values);
  renumber(graph.outputs, new_values);
  for (Node& node : graph.nodes) {
    renumber(node.inputs, new_values);
    renumber(node.outputs, new_values);
    renumber(node.weights, new_weights);
  }
}

std::int64_t* cache_layer_of(Op& op) {
  if (auto* write = std::get_if<CacheWrite>(&op)) return &write->cache_layer;
  if (auto* fused = std::get_if<RopeCacheWrite>(&op)) return &fused->write.cache_layer;
  if (auto* attention = std::get_if<Attention>(&op))
    return attention->source == AttentionSource::kPagedCache ? &attention->cache_layer : nullptr;
  return nullptr;
}

void renumber_cache_layers(Graph& graph) {
  std::map<std::int64_t, std::int64_t> local;
  for (Node& node : graph.nodes)
    if (const std::int64_t* layer = cache_layer_of(node.op)) local[*layer] = 0;
  std::int64_t next = 0;
  for (auto& [layer, number] : local) number = next++;
  for (Node& node : graph.nodes)
    if (std::int64_t* layer = cache_layer_of(node.op)) *layer = local.at(*layer);
}

Rewrite::Rewrite(Graph& graph, const std::set<std::string>& taps)
    : graph_(graph),
      uses_(uses_of(graph)),
      pinned_(graph.values.size()),
      dead_(graph.nodes.size()) {
  for (std::size_t i = 0; i < graph.values.size(); ++i)
    pinned_[i] = taps.contains(graph.values[i].name);
  for (const ValueId output : graph.outputs) pinned_[static_cast<std::size_t>(output)] = true;
}

bool Rewrite::only_for(ValueId value, std::int32_t node) const {
  if (pinned(value)) return false;
  for (const std::int32_t reader : readers(value))
    if (reader != node && !dead(reader)) return false;
  return true;
}

void Rewrite::finish() {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
    if (dead_[i]) continue;
    if (kept != i) graph_.nodes[kept] = std::move(graph_.nodes[i]);
    ++kept;
  }
  graph_.nodes.resize(kept);
  compact(graph_);
}

}  // namespace tenon
