// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "core/check.h"
#include "core/nearest_name.h"
#include "graph/passes.h"

namespace tenon {
namespace {

// In the order they run. Scales first, while Rope and Attention are apart; gate and up before
// merge_linears would take them for any two Linears of one x.
constexpr Pass kPasses[] = {
    {"remove_dead_nodes", remove_dead_nodes},         {"fold_scales", fold_scales},
    {"fuse_gated_linear", fuse_gated_linear},         {"merge_linears", merge_linears},
    {"fuse_rope_cache_write", fuse_rope_cache_write}, {"fuse_add_norm", fuse_add_norm},
};

}  // namespace

std::span<const Pass> all_passes() { return kPasses; }

void run_passes(Graph& graph, std::span<const std::string> names, const Taps& taps) {
  std::vector<std::string> known;
  for (const Pass& pass : kPasses) known.emplace_back(pass.name);
  for (const std::string& name : names)
    TENON_CHECK(std::ranges::find(known, name) != known.end(), ErrorCode::kInvalidArgument,
                "there is no pass \"{}\"{}", name, did_you_mean(name, known));
  for (const Pass& pass : kPasses) {
    if (std::ranges::find(names, pass.name) == names.end()) continue;
    try {
      pass.run(graph, taps);
      verify(graph);
    } catch (const Error& error) {
      fail(error.code(), "pass {}: {}", pass.name, error.what());
    }
  }
}

Taps taps_within(const Graph& graph, const Taps& taps) {
  Taps within;
  for (const Value& value : graph.values)
    if (taps.contains(value.name)) within.insert(value.name);
  return within;
}

void attach_taps(Graph& graph, const Taps& taps) {
  if (taps.empty()) return;
  std::unordered_map<std::string_view, ValueId> ids;
  for (std::size_t i = 0; i < graph.values.size(); ++i)
    ids.emplace(graph.values[i].name, static_cast<ValueId>(i));
  std::unordered_set<ValueId> outputs(graph.outputs.begin(), graph.outputs.end());
  for (const std::string& tap : taps) {
    const auto at = ids.find(tap);
    if (at == ids.end()) {
      std::vector<std::string> known;
      for (const Value& value : graph.values) known.push_back(value.name);
      fail(ErrorCode::kInvalidArgument, "graph \"{}\" has no value \"{}\"{}", graph.name, tap,
           did_you_mean(tap, known));
    }
    TENON_CHECK(graph.value(at->second).type.kind == ValueKind::kTensor,
                ErrorCode::kInvalidArgument,
                "graph \"{}\": \"{}\" is a cache, which cannot be tapped; tap its k and v",
                graph.name, tap);
    if (outputs.insert(at->second).second) graph.outputs.push_back(at->second);
  }
}

}  // namespace tenon
