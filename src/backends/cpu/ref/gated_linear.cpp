// GatedLinear, the specification: two linears, then the activation of one times the other.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/linear/linear_kernels.h"
#include "backends/cpu/ref/linear_reference.h"
#include "backends/cpu/ref/reference.h"

namespace tenon::cpu {
namespace {

class GatedLinearReference final : public CpuKernel {
 public:
  GatedLinearReference(ActivationKind kind, const NodeView& node,
                       std::vector<QuantizedTensor> weights)
      : kind_(kind), node_(node), weights_(std::move(weights)) {}

  std::int64_t workspace_bytes(const StepSizes&, int threads) const override {
    return row_workspace(node_, threads);
  }

  void run(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
           StepContext& step) const override {
    const TensorRef& x = inputs[0];
    const TensorRef& out = outputs[0];
    const QuantizedTensor* biases = weights_.size() > 2 ? &weights_[2] : nullptr;
    step.pool.run_ranges(out.width, 1, [&](std::int64_t begin, std::int64_t end, int worker) {
      float* row = worker_row(step, x.width, worker);
      for (std::int64_t n = begin; n < end; ++n) {
        dequantize_row(weights_[0], n, 0, x.width, row);
        for (std::int64_t m = 0; m < x.rows; ++m)
          out.f32()[m * out.width + n] =
              activate(kind_, dot(x.f32() + m * x.width, row, x.width) + bias_of(biases, n));
        dequantize_row(weights_[1], n, 0, x.width, row);
        for (std::int64_t m = 0; m < x.rows; ++m)
          out.f32()[m * out.width + n] *= dot(x.f32() + m * x.width, row, x.width) +
                                          bias_of(biases == nullptr ? nullptr : biases + 1, n);
      }
    });
  }

 private:
  ActivationKind kind_;
  NodeView node_;
  std::vector<QuantizedTensor> weights_;
};

}  // namespace

std::unique_ptr<CpuKernel> make_reference(const GatedLinear& op, const NodeView& node,
                                          std::vector<QuantizedTensor> weights, ThreadPool&) {
  return std::make_unique<GatedLinearReference>(op.kind, node, std::move(weights));
}

std::int64_t reference_workspace(const GatedLinear&, const NodeView& node, const StepSizes&,
                                 int threads) {
  return row_workspace(node, threads);
}

}  // namespace tenon::cpu
