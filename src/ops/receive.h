// Receive: a value from the rank that holds the previous pipeline stage.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ops/op_common.h"

namespace tenon {

struct Receive {
  static constexpr const char* kName = "receive";
  std::int64_t peer = 0;  ///< rank
  Symbol rows = Symbol::kTokens;
  std::int64_t width = 0;
  DataType dtype = DataType::kFloat32;
  /// no input; output: dtype [rows, width].
  static auto fields() {
    return std::tuple(field("peer", &Receive::peer), field("rows", &Receive::rows),
                      field("width", &Receive::width), field("dtype", &Receive::dtype));
  }
};

std::vector<ValueType> infer_types(const Receive& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights);

}  // namespace tenon
