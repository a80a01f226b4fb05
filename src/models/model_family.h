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
#include "graph/programs.h"
#include "tenon/config.h"

namespace tenon {

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
