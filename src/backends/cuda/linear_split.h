// Parts the product of joined matrices (Q, K, V) into its segments' outputs.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "tenon/types.h"

namespace tenon::cuda {

inline constexpr int kMaxSplitSegments = 16;

/// joined[rows, width] to outputs one after another by columns. Widths are multiples of 8, and
/// every row begins at 16 bytes.
struct RowSplit {
  struct Segment {
    void* data = nullptr;         ///< [rows, width]
    const float* bias = nullptr;  ///< [width] or null; added to the rounded product
    std::int64_t width = 0;
    std::int64_t begin = 0;  ///< its first column of `joined`
  };
  const void* joined = nullptr;
  DataType type = DataType::kBFloat16;  ///< of joined and outputs: float32, float16 or bfloat16
  std::int64_t rows = 0;                ///< at most 65535
  std::int64_t width = 0;
  int segments = 0;
  Segment out[kMaxSplitSegments] = {};
};
void launch_split(const RowSplit& split, cudaStream_t stream);

}  // namespace tenon::cuda
