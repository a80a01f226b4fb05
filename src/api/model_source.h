// ModelSource: a model opened from whatever a user named: config, weights by logical name, and
// where its text files are.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/checkpoint_directory.h"
#include "checkpoint/gguf_value.h"
#include "checkpoint/weight_source.h"
#include "graph/programs.h"
#include "tenon/config.h"

namespace tenon {

struct ModelSource {
  std::string name;  ///< what the user named
  PretrainedConfig config;
  std::shared_ptr<const WeightSource> weights;
  std::filesystem::path text_directory;      ///< tokenizer and template files; empty: none
  std::shared_ptr<const GgufMetadata> gguf;  ///< where tokenizer and template are in there
  std::vector<std::filesystem::path>
      files;  ///< config and weights that were read, in a fixed order
};

/// A Hugging Face directory or id, a GGUF file, or a checkpoint directory. Every missing, unused or
/// wrongly shaped tensor is listed in one error.
ModelSource open_model_source(std::string_view path_or_id);

/// The source whose weights have the form that config.quantization asks for: rounded to nearest
/// while they load, where they have not (quantized_weights.h).
ModelSource with_quantization(ModelSource source);

/// A model of `config` with seeded random weights, in the form that config.quantization asks for.
ModelSource random_model_source(const PretrainedConfig& config, std::uint64_t seed);

/// The graphs of a model, checked against its weights.
ModelGraphs build_graphs(const ModelSource& source, const BuildConfig& build);

/// What each rank of `mapping` holds of the weights of all programs. Throws
/// Error{kInvalidArgument} with the rule and the sizes that would work.
RankWeights rank_weights(const ModelGraphs& graphs, const WeightSource& weights,
                         const Mapping& mapping);

}  // namespace tenon
