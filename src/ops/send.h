// Send: a value to the rank that holds the next pipeline stage.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ops/op_common.h"

namespace tenon {

struct Send {
  static constexpr const char* kName = "send";
  std::int64_t peer = 0;  ///< rank
  /// inputs: x; no output.
  static auto fields() { return std::tuple(field("peer", &Send::peer)); }
};

std::vector<ValueType> infer_types(const Send& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights);

}  // namespace tenon
