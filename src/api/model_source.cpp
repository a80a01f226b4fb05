// SPDX-License-Identifier: Apache-2.0
#include "api/model_source.h"

#include <map>

#include "api/quantized_weights.h"
#include "api/random_weights.h"
#include "checkpoint/config_json.h"
#include "checkpoint/mapped_weights.h"
#include "checkpoint/model_files.h"
#include "core/check.h"
#include "core/mapping.h"
#include "engine/lowering.h"
#include "graph/partition.h"
#include "models/model_family.h"

namespace tenon {
namespace {

namespace fs = std::filesystem;

ModelSource from_hugging_face(ModelFiles files) {
  ModelSource source;
  const std::string where = (files.directory / "config.json").string();
  TENON_CHECK(files.config.has_value(), ErrorCode::kNotFound,
              "{}: no such file; a model directory needs its config.json", where);
  const ModelFamily& family = find_model_family(*files.config, where);
  source.config = family.config_from_hugging_face(*files.config, where);
  source.text_directory = files.directory;
  source.files.push_back(where);
  std::shared_ptr<const TensorSource> tensors = std::move(files.tensors);
  source.weights =
      map_weights(tensors, family.hugging_face_weights(source.config), files.directory.string());
  return source;
}

ModelSource from_gguf(ModelFiles files) {
  ModelSource source;
  const std::string where = files.weight_files.front().string();
  TENON_ASSERT(files.gguf.has_value());
  source.gguf = std::make_shared<GgufMetadata>(*files.gguf);
  const std::string& architecture =
      source.gguf->at("general.architecture", where).as_string("general.architecture");
  const ModelFamily& family = find_model_family_for_gguf(architecture);
  std::shared_ptr<const TensorSource> tensors = std::move(files.tensors);
  source.config = family.config_from_gguf(*source.gguf, *tensors, where);
  source.weights = map_weights(tensors, family.gguf_weights(source.config), where);
  return source;
}

ModelSource from_checkpoint(const fs::path& directory) {
  CheckpointDirectory checkpoint = open_checkpoint(directory);
  ModelSource source;
  source.config = std::move(checkpoint.config);
  source.weights = std::move(checkpoint.weights);
  source.text_directory = directory;
  source.files.push_back(directory / "manifest.json");  // it has the small files' checksums
  for (const auto& [name, row] : checkpoint.manifest.files.as_object("files"))
    if (name.ends_with(".safetensors")) source.files.push_back(directory / name);
  return source;
}

/// A config of a file was checked when it was read; one that a caller gave or changed was not.
void check_given_config(const PretrainedConfig& config, const std::string& where) try {
  check_config(config, where);
} catch (const Error& error) {
  if (error.code() != ErrorCode::kCorrupt) throw;
  throw Error(ErrorCode::kInvalidArgument, error.what());  // no file is at fault
}

}  // namespace

ModelSource open_model_source(std::string_view path_or_id) {
  const fs::path path(path_or_id);
  TENON_CHECK(!is_directory_of(path, DirectoryKind::kEngine), ErrorCode::kInvalidArgument,
              "{}: this is an engine; expected a model or a checkpoint (use --engine_dir)",
              path_or_id);
  ModelSource source;
  if (is_directory_of(path, DirectoryKind::kCheckpoint)) {
    source = from_checkpoint(path);
  } else {
    ModelFiles files = open_model(path_or_id);
    const std::vector<fs::path> weight_files = files.weight_files;
    source = files.kind == ModelKind::kGguf ? from_gguf(std::move(files))
                                            : from_hugging_face(std::move(files));
    source.files.insert(source.files.end(), weight_files.begin(), weight_files.end());
  }
  source.name = std::string(path_or_id);
  return with_quantization(std::move(source));
}

ModelSource random_model_source(const PretrainedConfig& config, std::uint64_t seed) {
  ModelSource source;
  source.name = "random weights";
  const ModelFamily& family = find_model_family(config.architecture);
  check_given_config(config, source.name);
  source.config = config;
  const ModelGraphs graphs = family.build(config, BuildConfig{});
  source.weights = make_random_weights(graphs, config.dtype, seed,
                                       quantized_specs(graphs, config.quantization, source.name));
  return source;
}

ModelSource with_quantization(ModelSource source) {
  if (source.config.quantization.quant_algo.empty()) return source;
  const ModelFamily& family = find_model_family(source.config.architecture);
  check_given_config(source.config, source.name);
  const ModelGraphs graphs = family.build(source.config, BuildConfig{});
  source.weights =
      quantize_weights(source.weights, graphs, source.config.quantization, source.name);
  return source;
}

ModelGraphs build_graphs(const ModelSource& source, const BuildConfig& build) {
  TENON_CHECK(
      source.config.quantization.kv_cache_quant_algo.empty(), ErrorCode::kUnsupported,
      "{}: quantization: kv_cache_quant_algo \"{}\" is not supported yet; leave it empty, and "
      "choose the cache's type when running (kv_cache_dtype)",
      source.name, source.config.quantization.kv_cache_quant_algo);
  const ModelFamily& family = find_model_family(source.config.architecture);
  check_given_config(source.config, source.name);
  ModelGraphs graphs = family.build(source.config, build);
  std::vector<const Graph*> programs;
  for (const auto& [name, graph] : graphs.programs) {
    verify(graph, /*stored=*/true);
    programs.push_back(&graph);
  }
  check_weights(programs, *source.weights, source.name);
  return graphs;
}

RankWeights rank_weights(const ModelGraphs& graphs, const WeightSource& weights,
                         const Mapping& mapping) {
  const Mapping checked = checked_mapping(mapping);
  RankWeights ranks;
  for (int rank = 0; rank < checked.world_size; ++rank) {
    std::map<std::string, Weight> mine;
    for (const auto& [name, program] : graphs.programs) {
      Graph whole = program;
      set_granules(whole, weights);
      for (Weight& weight : partition(whole, checked, rank).weights)
        mine.emplace(weight.name, std::move(weight));
    }
    auto& list = ranks.emplace_back();
    for (auto& [name, weight] : mine) list.push_back(std::move(weight));
  }
  return ranks;
}

}  // namespace tenon
