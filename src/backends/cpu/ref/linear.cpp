// Linear, the specification: the products' exact sum, rounded to fp32 once, plus the bias.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/linear/linear_kernels.h"
#include "backends/cpu/ref/linear_reference.h"

namespace tenon::cpu {
namespace {

class LinearReference final : public CpuKernel {
 public:
  LinearReference(std::int64_t segments, const NodeView& node, std::vector<QuantizedTensor> weights)
      : segments_(static_cast<std::size_t>(segments)), node_(node), weights_(std::move(weights)) {}

  std::int64_t workspace_bytes(const StepSizes&, int threads) const override {
    return row_workspace(node_, threads);
  }

  void run(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
           StepContext& step) const override {
    const TensorRef& x = inputs[0];
    for (std::size_t i = 0; i < segments_; ++i) {
      const QuantizedTensor& matrix = weights_[i];
      const QuantizedTensor* bias =
          weights_.size() > segments_ ? &weights_[segments_ + i] : nullptr;
      step.pool.run_ranges(matrix.rows(), 1, [&](std::int64_t begin, std::int64_t end, int worker) {
        float* row = worker_row(step, x.width, worker);
        for (std::int64_t n = begin; n < end; ++n) {
          dequantize_row(matrix, n, 0, x.width, row);
          for (std::int64_t m = 0; m < x.rows; ++m)
            outputs[i].f32()[m * outputs[i].width + n] =
                dot(x.f32() + m * x.width, row, x.width) + bias_of(bias, n);
        }
      });
    }
  }

 private:
  std::size_t segments_;
  NodeView node_;
  std::vector<QuantizedTensor> weights_;
};

}  // namespace

std::unique_ptr<CpuKernel> make_reference(const Linear& op, const NodeView& node,
                                          std::vector<QuantizedTensor> weights, ThreadPool&) {
  return std::make_unique<LinearReference>(op.segments, node, std::move(weights));
}

std::int64_t reference_workspace(const Linear&, const NodeView& node, const StepSizes&,
                                 int threads) {
  return row_workspace(node, threads);
}

}  // namespace tenon::cpu
