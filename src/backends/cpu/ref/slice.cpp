// Slice, the specification: columns [begin, end) of every row, bytes copied.
// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "backends/cpu/ref/reference.h"

namespace tenon::cpu {
namespace {

class SliceReference final : public CpuKernel {
 public:
  explicit SliceReference(const Slice& op) : op_(op) {}

  void run(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
           StepContext& step) const override {
    const TensorRef& in = inputs[0];
    const std::size_t size = size_of(in.dtype);
    const std::size_t bytes = static_cast<std::size_t>(op_.end - op_.begin) * size;
    step.pool.run_ranges(in.rows, 8, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t row = begin; row < end; ++row)
        std::memcpy(outputs[0].data + static_cast<std::size_t>(row) * bytes,
                    in.data + static_cast<std::size_t>(row * in.width + op_.begin) * size, bytes);
    });
  }

 private:
  Slice op_;
};

}  // namespace

std::unique_ptr<CpuKernel> make_reference(const Slice& op, const NodeView&, Weights, ThreadPool&) {
  return std::make_unique<SliceReference>(op);
}

}  // namespace tenon::cpu
