// Slice: columns [begin, end) of the last dimension.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ops/op_common.h"

namespace tenon {

struct Slice {
  static constexpr const char* kName = "slice";
  std::int64_t begin = 0;
  std::int64_t end = 0;
  static auto fields() {
    return std::tuple(field("begin", &Slice::begin), field("end", &Slice::end));
  }
};

std::vector<ValueType> infer_types(const Slice& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights);

}  // namespace tenon
