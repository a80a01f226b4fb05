// AllGather: the columns of every rank of the tensor-parallel group, joined in rank order.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ops/op_common.h"

namespace tenon {

struct AllGather {
  static constexpr const char* kName = "all_gather";
  std::vector<std::int64_t> widths;  ///< columns of each rank

  /// inputs: x [rows, widths[rank]]; output: [rows, sum of widths].
  static auto fields() { return std::tuple(field("widths", &AllGather::widths)); }
};

std::vector<ValueType> infer_types(const AllGather& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights);

}  // namespace tenon
