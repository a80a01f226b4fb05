// A model's own sampling defaults, in the meaning that transformers gives them: greedy unless
// do_sample, beams where num_beams says so.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "tenon/sampling.h"

namespace tenon {

struct GenerationConfig {
  SamplingParams sampling;
  std::vector<std::int32_t> end_ids;
};

/// What counts where a model has no generation_config.json.
GenerationConfig default_generation();

/// generation_config.json. Keys that have no counterpart among SamplingParams do not count, and
/// ids outside [0, vocab_size) neither. Throws Error{kCorrupt} with file and key.
GenerationConfig read_generation_config(const std::filesystem::path& path, std::int64_t vocab_size);

}  // namespace tenon
