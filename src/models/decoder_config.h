// The config.json keys that decoder-only families share: their names, old and new, and what
// transformers takes for a key that is absent. A family adds its own keys and finishes.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "models/config_reader.h"
#include "tenon/config.h"

namespace tenon {

/// transformers' values for keys that a file may lack. Sizes have none: they must be there.
struct DecoderDefaults {
  std::int64_t num_key_value_heads = 0;  ///< 0: num_attention_heads
  std::int64_t max_position_embeddings = 2048;
  double rms_norm_eps = 1e-6;
  double rope_theta = 10000.0;
  std::int64_t bos_token_id = -1;
  std::vector<std::int64_t> eos_token_ids = {};
};

/// The kinds of the model's layers where the file lists them ("layer_types"); empty otherwise.
/// Throws Error{kUnsupported} for kinds other than full and sliding attention.
std::vector<std::string> read_layer_types(ConfigReader& reader, std::int64_t layers);

/// Everything but biases, windows and rotary settings.
PretrainedConfig read_decoder_config(ConfigReader& reader, std::string_view architecture,
                                     const DecoderDefaults& defaults);

/// Windows by layer kind: `window` on each "sliding_attention" layer. Without a list of kinds, on
/// layers from `first_layer` on. Nothing where `window` is 0.
std::vector<std::int64_t> layer_windows(const ConfigReader& reader,
                                        const std::vector<std::string>& layer_types,
                                        std::int64_t layers, std::int64_t window,
                                        std::int64_t first_layer);

/// Reads the rotary settings, which depend on the layers' windows, refuses what was not understood,
/// then checks the whole.
PretrainedConfig finish_decoder_config(ConfigReader& reader, PretrainedConfig config);

}  // namespace tenon
