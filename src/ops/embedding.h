// Embedding: row ids[t] of a table for each token. Ids outside [row_begin, row_begin + rows) give
// zeros: a vocabulary shard's partial sum.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ops/op_common.h"

namespace tenon {

struct Embedding {
  static constexpr const char* kName = "embedding";
  std::int64_t row_begin = 0;  ///< first row that this table holds (a vocabulary shard)

  /// inputs: ids int32 [T]; weights: table [rows, width]; output: float [T, width].
  static auto fields() { return std::tuple(field("row_begin", &Embedding::row_begin)); }
};

std::vector<ValueType> infer_types(const Embedding& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights);

}  // namespace tenon
