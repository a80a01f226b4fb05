// An op that maps elements of its inputs to one output, one by one.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/ref/reference.h"

namespace tenon::cpu {

/// out[i] = map(a[i]) or map(a[i], b[i]), over float32 values.
template <int kInputs, class Map>
class ElementwiseReference final : public CpuKernel {
 public:
  explicit ElementwiseReference(Map map) : map_(map) {}

  void run(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
           StepContext& step) const override {
    const float* a = inputs[0].f32();
    float* out = outputs[0].f32();
    const std::int64_t total = inputs[0].rows * inputs[0].width;
    step.pool.run_ranges(total, 4096, [&](std::int64_t begin, std::int64_t end, int) {
      if constexpr (kInputs == 1) {
        for (std::int64_t i = begin; i < end; ++i) out[i] = map_(a[i]);
      } else {
        const float* b = inputs[1].f32();
        for (std::int64_t i = begin; i < end; ++i) out[i] = map_(a[i], b[i]);
      }
    });
  }

 private:
  Map map_;
};

template <int kInputs, class Map>
std::unique_ptr<CpuKernel> elementwise_reference(Map map) {
  return std::make_unique<ElementwiseReference<kInputs, Map>>(map);
}

}  // namespace tenon::cpu
