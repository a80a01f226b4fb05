// The rotary part of a config.json: rope_theta with rope_scaling (old form), or rope_parameters
// (present form, also nested per kind of layer).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "models/config_reader.h"
#include "tenon/config.h"

namespace tenon {

/// Sets rotary_base, rotary_scaling and position_embedding_type of `config`, whose
/// max_position_embeddings is set. `layer_types` are the kinds of layer that the model has.
/// Throws Error{kUnsupported} for kinds of scaling that are unknown, keys that do not belong to the
/// kind, forms that contradict each other, and layer kinds that differ in their parameters.
void read_rope(ConfigReader& reader, double default_theta,
               const std::vector<std::string>& layer_types, PretrainedConfig& config);

}  // namespace tenon
