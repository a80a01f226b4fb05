// SPDX-License-Identifier: Apache-2.0
#include "engine/lowering.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "core/check.h"
#include "engine/memory_plan.h"
#include "graph/partition.h"

namespace tenon {
namespace {

/// Memory of values that steps need: graph inputs are placed too, the step fills them.
void place_values(ProgramDescription& program) {
  const int nodes = static_cast<int>(program.nodes.size());
  std::vector<Lifetime> lives(program.values.size(), {0, nodes, -1});
  for (std::size_t v = 0; v < program.values.size(); ++v) {
    const ProgramValue& value = program.values[v];
    if (value.type.kind == ValueKind::kTensor)
      lives[v].bytes = program.limits.elements(value.type) *
                       static_cast<std::int64_t>(size_of(value.type.dtype));
  }
  const auto touch = [&](int value, int node) {
    Lifetime& life = lives[static_cast<std::size_t>(value)];
    life.first = std::min(life.first, node);
    life.last = std::max(life.last, node);
  };
  for (int n = 0; n < nodes; ++n) {
    for (const int value : program.nodes[static_cast<std::size_t>(n)].inputs) touch(value, n);
    for (const int value : program.nodes[static_cast<std::size_t>(n)].outputs) touch(value, n);
  }
  for (const int value : program.inputs) touch(value, 0);
  for (const int value : program.outputs) touch(value, nodes);
  const MemoryPlan plan = plan_memory(lives);
  for (std::size_t v = 0; v < program.values.size(); ++v)
    program.values[v].offset = plan.offsets[v];
  program.arena_bytes = plan.arena_bytes;
}

std::vector<CacheGroupDescription> describe_cache(const Graph& graph, const EngineTraits& traits,
                                                  const LoweringOptions& options) {
  // This rank's cached layers: local index → heads; the global index follows from the stage.
  std::map<std::int64_t, CacheWrite> local;
  for (const Node& node : graph.nodes) {
    if (const auto* write = std::get_if<CacheWrite>(&node.op)) local[write->cache_layer] = *write;
    if (const auto* fused = std::get_if<RopeCacheWrite>(&node.op))
      local[fused->write.cache_layer] = fused->write;
  }
  const RankPlace place = place_of(options.mapping, options.rank);
  const Range stage =
      stage_layers(std::max<std::int64_t>(graph.layers, 1), options.mapping.pp_size, place.pp);
  std::map<std::int64_t, std::int64_t> local_of_global;
  std::int64_t next = 0;
  for (std::size_t layer = 0; layer < traits.cache_layers.size(); ++layer) {
    const std::int64_t decoder_layer = traits.cache_layers[layer].layer;
    if (decoder_layer >= stage.begin && decoder_layer < stage.end)
      local_of_global[static_cast<std::int64_t>(layer)] = next++;
  }
  TENON_ASSERT(next == static_cast<std::int64_t>(local.size()));

  std::vector<CacheGroupDescription> groups;
  for (const CacheGroupLayout& layout : cache_groups(traits)) {
    CacheGroupDescription group;
    group.window = layout.window;
    group.dtype = options.cache_dtype;
    group.tokens_per_block = options.tokens_per_block;
    for (const std::int64_t layer : layout.layers)
      if (const auto found = local_of_global.find(layer); found != local_of_global.end()) {
        group.layers.push_back(found->second);
        group.kv_heads = local.at(found->second).kv_heads;
        group.head_dim = local.at(found->second).head_dim;
      }
    groups.push_back(std::move(group));
  }
  return groups;
}

/// A stage of a pipeline has some of the taps; a name that no stage has is a mistake.
void check_taps(const Graph& whole, const Taps& taps) {
  Graph copy = whole;
  attach_taps(copy, taps);
}

/// fp8 inputs are asked for by name: where no weight suits them, that is a mistake.
void check_float8_inputs(const ProgramDescription& program) {
  if (program.policy.activation != DataType::kFloat8E4M3) return;
  const WeightUse* other = nullptr;
  for (const ProgramNode& node : program.nodes) {
    if (!std::holds_alternative<Linear>(node.op) && !std::holds_alternative<GatedLinear>(node.op))
      continue;
    const WeightUse& use = program.weights[static_cast<std::size_t>(node.weights[0])];
    if (use.shape.size() == 2 && use.spec.suits_float8_inputs(use.shape[1])) return;
    if (other == nullptr) other = &use;
  }
  TENON_CHECK(other == nullptr, ErrorCode::kInvalidArgument,
              "activation_dtype float8_e4m3 goes with float8_e4m3 weights, and no linear layer has "
              "them ({} is {}); make a checkpoint with `tenon convert --use_weight_only "
              "--weight_only_precision fp8`, or use another activation_dtype",
              other->name, to_string(other->spec));
}

Cut cut_of(const Weight& weight) {
  Cut cut;
  for (const auto& [begin, end] : weight.cut) cut.push_back({begin, end});
  return cut;
}

}  // namespace

std::vector<CacheGroupLayout> cache_groups(const EngineTraits& traits) {
  using Key = std::tuple<std::int64_t, std::int64_t, std::int64_t>;
  std::vector<CacheGroupLayout> groups;
  std::map<Key, std::size_t> index;
  for (std::size_t layer = 0; layer < traits.cache_layers.size(); ++layer) {
    const EngineTraits::CacheLayer& row = traits.cache_layers[layer];
    const Key key{row.window, row.kv_heads, row.head_dim};
    const auto [found, fresh] = index.emplace(key, groups.size());
    if (fresh) groups.push_back({row.window, {}});
    groups[found->second].layers.push_back(static_cast<std::int64_t>(layer));
  }
  return groups;
}

void set_granules(Graph& graph, const WeightSource& weights) {
  for (const Weight& weight : graph.weights) {
    const WeightInfo* info = weights.find(weight.name);
    if (info == nullptr || info->spec.is_float() || weight.shape.size() != 2) continue;
    for (const ShardMark& mark : weight.marks) {
      if (mark.dim != 1) continue;
      const std::int64_t unit = info->spec.column_unit();
      ShardAxis& axis = graph.axes.at(mark.axis);
      axis.granule = std::lcm(axis.granule, unit / std::gcd(unit, mark.extent_per_unit));
    }
  }
}

LoweredProgram lower(const Graph& stored, const EngineTraits& traits, const WeightSource& weights,
                     const LoweringOptions& options) {
  LoweredProgram lowered;
  Graph whole = stored;
  set_granules(whole, weights);
  check_taps(whole, options.taps);
  lowered.graph = partition(whole, options.mapping, options.rank, options.taps);
  const Taps taps = taps_within(lowered.graph, options.taps);
  attach_taps(lowered.graph, taps);
  run_passes(lowered.graph, options.fusions, taps);

  const Graph& graph = lowered.graph;
  ProgramDescription& program = lowered.description;
  program.name = graph.name;
  program.limits = options.limits;
  program.slots = options.slots;
  program.policy = options.policy;
  for (const Value& value : graph.values) program.values.push_back({value.name, value.type, -1});
  for (const Weight& weight : graph.weights) {
    program.weights.push_back({weight.name, weight.shape, weights.at(weight.name).spec});
    lowered.cuts.push_back(cut_of(weight));
  }
  for (const Node& node : graph.nodes)
    program.nodes.push_back({node.op,
                             {node.inputs.begin(), node.inputs.end()},
                             {node.outputs.begin(), node.outputs.end()},
                             {node.weights.begin(), node.weights.end()}});
  program.inputs.assign(graph.inputs.begin(), graph.inputs.end());
  program.outputs.assign(graph.outputs.begin(), graph.outputs.end());
  check_float8_inputs(program);
  program.cache = describe_cache(graph, traits, options);
  place_values(program);
  return lowered;
}

}  // namespace tenon
