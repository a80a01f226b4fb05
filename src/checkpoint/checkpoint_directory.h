// The directory that `convert` writes: config.json, one rank file per rank of its mapping, the text
// files (tokenizer, template, generation defaults), manifest.json. Reads under any mapping.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "checkpoint/manifest.h"
#include "checkpoint/weight_source.h"
#include "tenon/config.h"

namespace tenon {

struct CheckpointDirectory {
  std::filesystem::path path;
  PretrainedConfig config;
  std::shared_ptr<const WeightSource> weights;
  Manifest manifest;
};

CheckpointDirectory open_checkpoint(const std::filesystem::path& path);

/// The weights of each rank, as the partitioned graphs name them.
using RankWeights = std::vector<std::vector<Weight>>;

/// Writes rank files into `directory`, up to `workers` at once, and adds them to `manifest`.
void write_rank_files(const std::filesystem::path& directory, const RankWeights& ranks,
                      const WeightSource& source, std::optional<DataType> float_type, int workers,
                      Manifest& manifest);

/// Copies the text files of a model that `from` has (tokenizer, chat template, generation defaults)
/// and adds them to `manifest`.
void copy_text_files(const std::filesystem::path& from, const std::filesystem::path& to,
                     Manifest& manifest);

/// Names of the files that copy_text_files copies.
std::span<const char* const> text_file_names();

}  // namespace tenon
