// Quantizing while reading: a WeightSource over another whose linear layers' matrices come out in
// the form that a QuantConfig asks for. Weights that have it already pass as they are.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>

#include "checkpoint/weight_source.h"
#include "graph/programs.h"
#include "tenon/config.h"

namespace tenon {

/// The form of each weight that `config` quantizes: the matrices of linear layers but for
/// exclude_modules (default_exclude_modules() where that is empty). Empty without a quant_algo.
/// Throws Error{kUnsupported} for one that is not known, Error{kInvalidArgument} where a group does
/// not divide a matrix; `where` names the model.
std::map<std::string, QuantSpec> quantized_specs(const ModelGraphs& graphs,
                                                 const QuantConfig& config,
                                                 const std::string& where);

/// `source` itself where each weight has its form. Else one that rounds to nearest while loading:
/// plain weights from their values, those of another quantized form from their dequantized ones.
std::shared_ptr<const WeightSource> quantize_weights(std::shared_ptr<const WeightSource> source,
                                                     const ModelGraphs& graphs,
                                                     const QuantConfig& config,
                                                     const std::string& where);

}  // namespace tenon
