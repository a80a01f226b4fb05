// ModelFamily: everything one architecture says of itself: how its files' config reads, how its
// weights are named in them, and the graph. One row of model_list.cpp each; M13: a new one is one
// small file.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/gguf_value.h"
#include "checkpoint/tensor_source.h"
#include "checkpoint/weight_map.h"
#include "core/json.h"
#include "graph/programs.h"
#include "tenon/config.h"

namespace tenon {

struct ModelFamily {
  std::string_view architecture;              ///< config.json's "architectures"
  std::span<const std::string_view> aliases;  ///< other names of the same thing
  std::string_view gguf_architecture;         ///< general.architecture; empty: none

  /// Hugging Face's config.json. Unknown keys that change the mathematics are errors naming the
  /// key.
  PretrainedConfig (*config_from_hugging_face)(const Json& config, std::string_view where);
  /// A GGUF file's metadata. Some facts are only in its tensors: a tied head has no output.weight,
  /// biases are there or not, rope_freqs.weight holds the factors of Llama 3.1's scaling (they
  /// become RopeScaling::frequency_factors).
  PretrainedConfig (*config_from_gguf)(const GgufMetadata& metadata, const TensorSource& tensors,
                                       std::string_view where);
  /// Logical name ← the files' names and layouts.
  WeightMap (*hugging_face_weights)(const PretrainedConfig& config);
  WeightMap (*gguf_weights)(const PretrainedConfig& config);

  ModelGraphs (*build)(const PretrainedConfig& config, const BuildConfig& build);
};

/// By "architectures" name or alias. Throws Error{kUnsupported} listing what is known, with the
/// nearest name.
const ModelFamily& find_model_family(std::string_view architecture);
/// By general.architecture. A GGUF file does not tell Mistral from Llama: both are "llama".
const ModelFamily& find_model_family_for_gguf(std::string_view gguf_architecture);
/// By config.json as a whole: the first of "architectures" that is known. `where` names the file.
const ModelFamily& find_model_family(const Json& hugging_face_config, std::string_view where);
/// What the list holds, in its order.
std::span<const ModelFamily> model_families();

}  // namespace tenon
