// build: a model or checkpoint becomes an engine directory.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

#include "api/model_source.h"
#include "tenon/config.h"

namespace tenon {

struct BuildReport {
  std::string architecture;
  std::int64_t bytes = 0;
  std::int64_t nodes = 0;
  double seconds = 0;
};

/// Writes the engine, cut by source.config.mapping; a run may choose another mapping.
BuildReport build_engine(const ModelSource& source, const BuildConfig& build,
                         const std::filesystem::path& output_dir, int workers = 1);

/// max_seq_len of an engine where none was asked for.
std::int64_t longest_sequence(const EngineTraits& traits);

/// The config with max_seq_len and the like decided; throws Error{kInvalidArgument} naming a field.
BuildConfig settle_build_config(const BuildConfig& build, const EngineTraits& traits);

}  // namespace tenon
