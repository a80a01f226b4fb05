// What an engine holds of a model: its programs, which share weights by name, and the traits that
// are all the runtime knows of it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace tenon {

struct EngineTraits {
  struct CacheLayer {
    std::int64_t kv_heads = 0;  ///< of the unsharded model
    std::int64_t head_dim = 0;
    std::int64_t window = 0;  ///< tokens seen back, itself included; 0: whole context
    std::int32_t layer = 0;   ///< decoder layer, for pipeline stages
    bool operator==(const CacheLayer&) const = default;
  };
  std::vector<CacheLayer> cache_layers;  ///< index: cache_layer of the graph's ops
  std::int64_t max_position = 0;         ///< longest sequence; 0: unlimited
  std::int64_t vocab_size = 0;
  bool chunkable = true;  ///< a context may be cut into steps
  bool operator==(const EngineTraits&) const = default;
};

struct ModelGraphs {
  std::map<std::string, Graph> programs;  ///< "decoder", …
  EngineTraits traits;
};

Json to_json(const ModelGraphs& graphs);
/// Checks everything (hostile input), verifies each graph as a stored one.
ModelGraphs model_graphs_from_json(const Json& json, std::string_view where);

}  // namespace tenon
