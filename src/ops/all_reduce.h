// AllReduce: the sum of x over the ranks of the tensor-parallel group.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ops/op_common.h"

namespace tenon {

struct AllReduce {
  static constexpr const char* kName = "all_reduce";
  static auto fields() { return std::tuple<>(); }
};

std::vector<ValueType> infer_types(const AllReduce& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights);

}  // namespace tenon
