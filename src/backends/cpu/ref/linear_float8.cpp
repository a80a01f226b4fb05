// Linear and GatedLinear with x rounded to float8_e4m3, the specification: of each row the largest
// magnitude over 448 is the scale, codes are the nearest to x / scale, and what the linears' own
// references get is scale * code.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "backends/cpu/linear/linear_kernels.h"
#include "core/half.h"

namespace tenon::cpu {
namespace {

std::int64_t copy_bytes(const NodeView& node, const StepSizes& limits) {
  return (limits.elements(node.inputs[0]) * static_cast<std::int64_t>(sizeof(float)) + 63) / 64 *
         64;
}

void round_row(const float* x, std::int64_t count, float* out) {
  float largest = 0.0F;
  for (std::int64_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(x[i]));
  const float scale = largest / 448.0F;
  for (std::int64_t i = 0; i < count; ++i)
    out[i] = scale == 0.0F ? x[i] : scale * fp8_e4m3_to_float(float_to_fp8_e4m3(x[i] / scale));
}

class Float8Reference final : public CpuKernel {
 public:
  Float8Reference(NodeView node, std::unique_ptr<CpuKernel> exact)
      : node_(std::move(node)), exact_(std::move(exact)) {}

  std::int64_t workspace_bytes(const StepSizes& limits, int threads) const override {
    return copy_bytes(node_, limits) + exact_->workspace_bytes(limits, threads);
  }

  void run(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
           StepContext& step) const override {
    TensorRef x = inputs[0];
    auto* rounded = reinterpret_cast<float*>(step.workspace.data());
    for (std::int64_t row = 0; row < x.rows; ++row)
      round_row(x.f32() + row * x.width, x.width, rounded + row * x.width);
    x.data = step.workspace.data();
    StepContext rest = step;
    const auto used = static_cast<std::size_t>(x.rows * x.width) * sizeof(float);
    rest.workspace = step.workspace.subspan((used + 63) / 64 * 64);
    exact_->run({&x, 1}, outputs, rest);
  }

 private:
  NodeView node_;
  std::unique_ptr<CpuKernel> exact_;
};

}  // namespace

std::unique_ptr<CpuKernel> make_float8_reference(const Linear& op, const NodeView& node,
                                                 std::vector<QuantizedTensor> weights,
                                                 ThreadPool& pool) {
  return std::make_unique<Float8Reference>(node,
                                           make_reference(op, node, std::move(weights), pool));
}

std::unique_ptr<CpuKernel> make_float8_reference(const GatedLinear& op, const NodeView& node,
                                                 std::vector<QuantizedTensor> weights,
                                                 ThreadPool& pool) {
  return std::make_unique<Float8Reference>(node,
                                           make_reference(op, node, std::move(weights), pool));
}

std::int64_t float8_reference_workspace(const Linear& op, const NodeView& node,
                                        const StepSizes& limits, int threads) {
  return copy_bytes(node, limits) + reference_workspace(op, node, limits, threads);
}

std::int64_t float8_reference_workspace(const GatedLinear& op, const NodeView& node,
                                        const StepSizes& limits, int threads) {
  return copy_bytes(node, limits) + reference_workspace(op, node, limits, threads);
}

}  // namespace tenon::cpu
