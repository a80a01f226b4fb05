// SPDX-License-Identifier: Apache-2.0
#include "api/convert.h"

#include <chrono>

#include "api/model_source.h"
#include "api/text_assets.h"
#include "checkpoint/config_json.h"
#include "core/file.h"
#include "core/mapping.h"
#include "core/staged_directory.h"

namespace tenon {

ConvertReport convert(const ConvertOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  check_destination(options.output_dir, DirectoryKind::kCheckpoint);
  ModelSource source = open_model_source(options.model_dir);
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

  ConvertReport report;
  report.architecture = source.config.architecture;
  report.weights = static_cast<std::int64_t>(source.weights->weights().size());
  for (const auto& [name, row] : manifest.files.as_object("files"))
    report.bytes += row.at("bytes", name).as_int(name);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return report;
}

}  // namespace tenon
