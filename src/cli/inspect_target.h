// What `inspect` looks at, opened whatever it is. A model that this version cannot run is still
// shown: `problem` says why.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/text_assets.h"
#include "checkpoint/gguf_value.h"
#include "checkpoint/manifest.h"
#include "checkpoint/weight_source.h"
#include "core/json.h"
#include "graph/programs.h"
#include "tenon/config.h"

namespace tenon::cli {

struct InspectedTensor {
  std::string name;
  Shape shape;
  std::string format;  ///< the file's word for it: "Q4_K", "BF16"; of weights: their spec
  std::int64_t bytes = 0;
  std::string file;  ///< empty where several files hold it
};

struct InspectTarget {
  std::string name;
  std::string kind;  ///< "GGUF model", "Tenon engine", "tensor file", …
  std::string problem;
  std::vector<std::filesystem::path> files;
  std::vector<InspectedTensor> tensors;
  std::optional<Json> foreign_config;  ///< a Hugging Face config.json that was not understood
  std::shared_ptr<const GgufMetadata> gguf;
  std::optional<Manifest> manifest;
  std::optional<PretrainedConfig> config;
  std::optional<BuildConfig> build;
  std::shared_ptr<const WeightSource> weights;  ///< null: tensors alone
  std::optional<ModelGraphs> graphs;
  std::string tokenizer_kind;  ///< empty: none
  TextAssets text;
};

InspectTarget open_inspect_target(const std::string& path_or_id);

/// Bytes of a weight, and its numbers.
std::int64_t weight_bytes(const WeightInfo& weight);
std::int64_t weight_elements(const Shape& shape);

}  // namespace tenon::cli
