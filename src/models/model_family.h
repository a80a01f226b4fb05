// ModelFamily: everything one architecture says of itself: how its files' config reads, how its
// weights are named in them, and the graph. One row of model_list.cpp each; M13: a new one is one
// small file.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/gguf.h"
#include "checkpoint/weight_map.h"
#include "core/json.h"
#include "graph/graph.h"
#include "tenon/config.h"

namespace tenon {

/// All that the runtime knows of a model.
struct EngineTraits {
  struct CacheLayer {
    std::int64_t kv_heads = 0;  ///< of the unsharded model
    std::int64_t head_dim = 0;
    std::int64_t window = 0;  ///< 0: whole context
    std::int32_t layer = 0;   ///< decoder layer, for pipeline stages
  };
  std::vector<CacheLayer> cache_layers;  ///< index: cache_layer of the graph's ops
  std::int64_t max_position = 0;         ///< longest sequence, 0: unlimited
  std::int64_t vocab_size = 0;
  bool chunkable = true;  ///< a context may be cut into steps
};

/// The programs of an engine, which share weights by name.
struct ModelGraphs {
  std::map<std::string, Graph> programs;  ///< "decoder", …
  EngineTraits traits;
};

struct ModelFamily {
  std::string_view architecture;               ///< config.json's "architectures"
  std::span<const std::string_view> aliases;   ///< other names of the same thing
  std::string_view gguf_architecture;          ///< general.architecture; empty: none

  /// Hugging Face's config.json. Unknown keys that change the mathematics are errors naming the key.
  PretrainedConfig (*config_from_hugging_face)(const Json& config, std::string_view where);
  PretrainedConfig (*config_from_gguf)(const GgufMetadata& metadata, std::string_view where);
  /// Logical name ← the files' names and layouts.
  WeightMap (*hugging_face_weights)(const PretrainedConfig& config);
  WeightMap (*gguf_weights)(const PretrainedConfig& config);

  ModelGraphs (*build)(const PretrainedConfig& config, const BuildConfig& build);
};

/// Throws Error{kUnsupported} listing what is known, with the nearest name.
const ModelFamily& find_model_family(std::string_view architecture);
const ModelFamily& find_model_family_for_gguf(std::string_view gguf_architecture);
std::span<const ModelFamily> model_families();

}  // namespace tenon
