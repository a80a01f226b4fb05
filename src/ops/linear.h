// Linear: y = x W^T + b, for one or several weights that read the same x (segments: QKV, gate, up).
// Several segments are only ever the result of the pass merge_linears; they equal one Linear each.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ops/op_common.h"

namespace tenon {

struct Linear {
  static constexpr const char* kName = "linear";
  std::int64_t segments = 1;
  bool has_bias = false;
  bool gather_output = false;  ///< a cut output is gathered over the ranks (ColumnLinear)

  /// inputs: x [rows, in]; weights: segments matrices [out_i, in], then, where has_bias, segments
  /// vectors [out_i]; outputs: one [rows, out_i] each.
  static auto fields() {
    return std::tuple(field("segments", &Linear::segments), field("has_bias", &Linear::has_bias),
                      field("gather_output", &Linear::gather_output));
  }
};

std::vector<ValueType> infer_types(const Linear& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights);

}  // namespace tenon
