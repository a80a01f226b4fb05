// Concat, the specification: rows of the inputs joined, bytes copied.
// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "backends/cpu/ref/reference.h"

namespace tenon::cpu {
namespace {

class ConcatReference final : public CpuKernel {
 public:
  void run(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
           StepContext& step) const override {
    const TensorRef& out = outputs[0];
    const std::size_t size = size_of(out.dtype);
    step.pool.run_ranges(out.rows, 8, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t row = begin; row < end; ++row) {
        std::byte* to = out.data + static_cast<std::size_t>(row * out.width) * size;
        for (const TensorRef& in : inputs) {
          const std::size_t bytes = static_cast<std::size_t>(in.width) * size;
          std::memcpy(to, in.data + static_cast<std::size_t>(row) * bytes, bytes);
          to += bytes;
        }
      }
    });
  }
};

}  // namespace

std::unique_ptr<CpuKernel> make_reference(const Concat&, const NodeView&, Weights, ThreadPool&) {
  return std::make_unique<ConcatReference>();
}

}  // namespace tenon::cpu
