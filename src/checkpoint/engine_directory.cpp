// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/engine_directory.h"

#include "checkpoint/config_json.h"
#include "checkpoint/rank_files.h"
#include "core/check.h"
#include "core/file.h"
#include "tenon/version.h"

namespace tenon {

EngineDirectory open_engine(const std::filesystem::path& path) {
  EngineDirectory engine;
  engine.path = path;
  engine.manifest = read_manifest(path, DirectoryKind::kEngine);
  const std::string config = (path / "config.json").string();
  const Json json = Json::parse(read_file(config), config);
  engine.config = pretrained_config_from_json(json.at("pretrained_config", config), config);
  engine.build = build_config_from_json(json.at("build_config", config), config);
  const std::string graph = (path / "graph.json").string();
  engine.graphs = model_graphs_from_json(Json::parse(read_file(graph), graph), graph);
  engine.weights = open_rank_files(path, engine.manifest.files);
  std::vector<const Graph*> graphs;
  for (const auto& [name, program] : engine.graphs.programs) graphs.push_back(&program);
  check_weights(graphs, *engine.weights, path.string());
  return engine;
}

void write_engine_plan(const std::filesystem::path& directory, const PretrainedConfig& config,
                       const BuildConfig& build, const ModelGraphs& graphs, Manifest& manifest) {
  Json json = Json::object();
  json.set("version", std::string(kVersion));
  json.set("pretrained_config", to_json(config));
  json.set("build_config", to_json(build));
  write_file_atomically(directory / "config.json", json.dump(2) + "\n");
  write_file_atomically(directory / "graph.json", to_json(graphs).dump(1) + "\n");
  add_file(manifest, directory, "config.json");
  add_file(manifest, directory, "graph.json");
}

}  // namespace tenon
