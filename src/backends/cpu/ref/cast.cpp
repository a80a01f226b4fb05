// Cast, the specification: through fp32, rounded to nearest even.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "backends/cpu/ref/reference.h"
#include "core/half.h"

namespace tenon::cpu {
namespace {

class CastReference final : public CpuKernel {
 public:
  void run(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
           StepContext& step) const override {
    const TensorRef& in = inputs[0];
    const TensorRef& out = outputs[0];
    step.pool.run_ranges(in.rows * in.width, 4096, [&](std::int64_t begin, std::int64_t end, int) {
      constexpr std::int64_t kChunk = 256;
      float buffer[kChunk];
      for (std::int64_t i = begin; i < end; i += kChunk) {
        const auto at = static_cast<std::size_t>(i);
        const auto count = static_cast<std::size_t>(std::min(kChunk, end - i));
        convert_to_float(in.dtype, in.data + at * size_of(in.dtype), buffer, count);
        convert_from_float(out.dtype, buffer, out.data + at * size_of(out.dtype), count);
      }
    });
  }
};

}  // namespace

std::unique_ptr<CpuKernel> make_reference(const Cast&, const NodeView&, Weights, ThreadPool&) {
  return std::make_unique<CastReference>();
}

}  // namespace tenon::cpu
