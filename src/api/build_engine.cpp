// SPDX-License-Identifier: Apache-2.0
#include "api/build_engine.h"

#include <chrono>

#include "api/text_assets.h"
#include "checkpoint/config_json.h"
#include "checkpoint/engine_directory.h"
#include "core/check.h"
#include "core/file.h"
#include "core/staged_directory.h"
#include "engine/cache_size.h"

namespace tenon {

std::int64_t longest_sequence(const EngineTraits& traits) {
  constexpr std::int64_t kUnlimitedPositions = 32768;  // where they do not end (alibi)
  return traits.max_position > 0 ? traits.max_position : kUnlimitedPositions;
}

BuildConfig settle_build_config(const BuildConfig& build, const EngineTraits& traits) {
  check_config(build);
  check_tokens_per_block(build.tokens_per_block);
  TENON_CHECK(build.kv_cache_type == "paged", ErrorCode::kUnsupported,
              "kv_cache_type: {} is not supported yet; use paged", build.kv_cache_type);
  TENON_CHECK(build.max_beam_width >= 1 && build.max_beam_width <= 256, ErrorCode::kInvalidArgument,
              "max_beam_width: {} is out of range, expected 1 to 256", build.max_beam_width);
  TENON_CHECK(build.logits_dtype == "float32", ErrorCode::kUnsupported,
              "logits_dtype: {} is not supported yet; use float32", build.logits_dtype);
  TENON_CHECK(build.remove_input_padding && build.use_paged_context_fmha, ErrorCode::kUnsupported,
              "{}: batches are always packed and contexts always chunked here; false (\"disable\") "
              "is not supported",
              build.remove_input_padding ? "use_paged_context_fmha" : "remove_input_padding");
  TENON_CHECK(build.opt_num_tokens.value_or(1) <= build.max_num_tokens, ErrorCode::kInvalidArgument,
              "opt_num_tokens: {} is more than max_num_tokens {}", *build.opt_num_tokens,
              build.max_num_tokens);
  BuildConfig settled = build;
  if (!settled.max_seq_len) settled.max_seq_len = longest_sequence(traits);
  TENON_CHECK(traits.max_position == 0 || *settled.max_seq_len <= traits.max_position,
              ErrorCode::kInvalidArgument, "max_seq_len: {} is more than the model's {} positions",
              *settled.max_seq_len, traits.max_position);
  TENON_CHECK(settled.max_input_len.value_or(1) <= *settled.max_seq_len,
              ErrorCode::kInvalidArgument, "max_input_len: {} is more than max_seq_len {}",
              *settled.max_input_len, *settled.max_seq_len);
  return settled;
}

BuildReport build_engine(const ModelSource& source, const BuildConfig& build,
                         const std::filesystem::path& output_dir, int workers) {
  const auto begin = std::chrono::steady_clock::now();
  check_destination(output_dir, DirectoryKind::kEngine);
  const ModelGraphs graphs = build_graphs(source, build);
  const BuildConfig settled = settle_build_config(build, graphs.traits);
  const RankWeights ranks = rank_weights(graphs, *source.weights, source.config.mapping);

  StagedDirectory staged(output_dir);
  Manifest manifest;
  manifest.kind = DirectoryKind::kEngine;
  write_rank_files(staged.path(), ranks, *source.weights, std::nullopt, workers, manifest);
  write_engine_plan(staged.path(), source.config, settled, graphs, manifest);
  write_text_files(source, staged.path(), manifest);
  write_manifest(staged.path(), manifest);
  staged.commit();

  BuildReport report;
  report.architecture = source.config.architecture;
  for (const auto& [name, row] : manifest.files.as_object("files"))
    report.bytes += row.at("bytes", name).as_int(name);
  for (const auto& [name, graph] : graphs.programs)
    report.nodes += static_cast<std::int64_t>(graph.nodes.size());
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return report;
}

}  // namespace tenon
