// What the references of Linear and GatedLinear share.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/cpu_kernel.h"

namespace tenon::cpu {

/// One dequantized row of a weight for each worker.
inline std::int64_t row_workspace(const NodeView& node, int threads) {
  const std::int64_t columns = node.weights[0].shape.back();
  return threads * columns * static_cast<std::int64_t>(sizeof(float));
}

inline float* worker_row(const StepContext& step, std::int64_t columns, int worker) {
  return reinterpret_cast<float*>(step.workspace.data()) + worker * columns;
}

/// Exact to the last rounding: fp32 products have no error in double.
inline float dot(const float* a, const float* b, std::int64_t count) {
  double sum = 0.0;
  for (std::int64_t k = 0; k < count; ++k) sum += static_cast<double>(a[k]) * b[k];
  return static_cast<float>(sum);
}

inline float bias_of(const QuantizedTensor* bias, std::int64_t index) {
  float value = 0.0F;
  if (bias != nullptr) dequantize_row(*bias, 0, index, index + 1, &value);
  return value;
}

}  // namespace tenon::cpu
