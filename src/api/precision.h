// The precision that a run computes in, and how far it is from exact where that was measured.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>

#include "checkpoint/weight_source.h"
#include "core/dtype.h"

namespace tenon {

struct Precision {
  /// Formats of the matrices as stored, those of most numbers first: "bfloat16", "int4 group 32
  /// scale float16 minimum, int8 group 32 scale float16".
  std::string weights;
  DataType activations = DataType::kFloat32;  ///< what linear layers read
  DataType cache = DataType::kFloat32;
};

/// Precision::weights of a source's weights.
std::string weight_formats(std::span<const WeightInfo> weights);

/// One line without its end, with the mean KL divergence where exactly this was measured:
/// "precision: weights as stored (…), activations float32 exact, cache float32; mean KL 4.9e-10 …"
std::string describe(const Precision& precision);

}  // namespace tenon
