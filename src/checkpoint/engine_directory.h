// The directory that `build` writes: config.json (version, pretrained_config, build_config),
// graph.json (the plain programs and traits), rank files, text files, manifest.json. It runs on any
// device under any mapping.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "checkpoint/checkpoint_directory.h"
#include "graph/programs.h"

namespace tenon {

struct EngineDirectory {
  std::filesystem::path path;
  PretrainedConfig config;
  BuildConfig build;
  ModelGraphs graphs;
  std::shared_ptr<const WeightSource> weights;
  Manifest manifest;
};

EngineDirectory open_engine(const std::filesystem::path& path);

/// Writes config.json and graph.json into `directory` and adds them to `manifest`.
void write_engine_plan(const std::filesystem::path& directory, const PretrainedConfig& config,
                       const BuildConfig& build, const ModelGraphs& graphs, Manifest& manifest);

}  // namespace tenon
