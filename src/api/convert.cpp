// SPDX-License-Identifier: Apache-2.0
#include "api/convert.h"

#include <chrono>

#include "api/model_source.h"
#include "api/precision.h"
#include "api/text_assets.h"
#include "checkpoint/config_json.h"
#include "core/file.h"
#include "core/mapping.h"
#include "core/staged_directory.h"
#include "quant/quant_algo.h"

namespace tenon {
namespace {

/// Sets what a checkpoint's config.json will say, and makes the weights so.
ModelSource quantized(ModelSource source, const QuantConfig& quantization, ConvertReport& report) {
  const std::shared_ptr<const WeightSource> before = source.weights;
  source.config.quantization = quantization;
  if (quantization.exclude_modules.empty())
    source.config.quantization.exclude_modules = default_exclude_modules();
  source = with_quantization(std::move(source));
  std::vector<WeightInfo> changed;
  for (std::size_t i = 0; i < before->weights().size(); ++i)
    if (before->weights()[i].spec != source.weights->weights()[i].spec)
      changed.push_back(before->weights()[i]);
  report.quantized = std::ssize(changed);
  report.quantized_from = weight_formats(changed);
  return source;
}

}  // namespace

ConvertReport convert(const ConvertOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  check_destination(options.output_dir, DirectoryKind::kCheckpoint);
  ConvertReport report;
  ModelSource source = open_model_source(options.model_dir);
  if (!options.quantization.quant_algo.empty())
    source = quantized(std::move(source), options.quantization, report);
  source.config.mapping = checked_mapping(options.mapping);
  if (options.dtype) source.config.dtype = *options.dtype;
  const ModelGraphs graphs = build_graphs(source, BuildConfig{});
  const RankWeights ranks = rank_weights(graphs, *source.weights, source.config.mapping);

  StagedDirectory staged(options.output_dir);
  Manifest manifest;
  manifest.kind = DirectoryKind::kCheckpoint;
  write_rank_files(staged.path(), ranks, *source.weights, options.dtype, options.workers, manifest);
  write_file_atomically(staged.path() / "config.json", to_json(source.config).dump(2) + "\n");
  add_file(manifest, staged.path(), "config.json");
  write_text_files(source, staged.path(), manifest);
  write_manifest(staged.path(), manifest);
  staged.commit();

  report.architecture = source.config.architecture;
  report.weights = static_cast<std::int64_t>(source.weights->weights().size());
  for (const auto& [name, row] : manifest.files.as_object("files"))
    report.bytes += row.at("bytes", name).as_int(name);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return report;
}

}  // namespace tenon
