// The rotary part of a config.json: rope_theta with rope_scaling (old form), or rope_parameters
// (present form, also nested per kind of layer).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "models/config_reader.h"
#include "tenon/config.h"

namespace tenon {

/// Sets rotary_base (given: the family's default), rotary_scaling, layer_rotary and
/// position_embedding_type of `config`, whose max_position_embeddings and layer_windows are set.
/// Throws Error{kUnsupported} for kinds of scaling and of layer that are unknown, keys that do not
/// belong to the kind, and forms that contradict each other; Error{kCorrupt} where the settings of
/// a kind of layer that the model has are missing.
void read_rope(ConfigReader& reader, PretrainedConfig& config);

/// The kind of position that `scaling` makes of halves rotated in pairs.
PositionEmbeddingType rope_position(const RopeScaling& scaling);

}  // namespace tenon
