// MappedWeights: the weights of a model's own files (Hugging Face, GGUF) under their logical names,
// through the family's weight map. Nothing is copied that need not be.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "checkpoint/tensor_source.h"
#include "checkpoint/weight_map.h"
#include "checkpoint/weight_source.h"

namespace tenon {

/// Throws one Error{kCorrupt} listing every tensor that the map wants and the files lack, and every
/// tensor of the files that nothing uses. `where` names the model.
std::unique_ptr<WeightSource> map_weights(std::shared_ptr<const TensorSource> files, WeightMap map,
                                          std::string where);

}  // namespace tenon
