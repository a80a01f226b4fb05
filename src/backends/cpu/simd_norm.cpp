// Norm and AddNorm over vectors: each row's sums run in a fixed order.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/simd_kernels.h"

#include <fmt/core.h>

namespace tenon::cpu {
namespace {

class NormSimd final : public CpuKernel {
 public:
  NormSimd(const IsaKernels& isa, const Norm& op, bool adds, const Weights& weights)
      : isa_(isa), op_(op), adds_(adds) {
    gain_ = to_floats(weights.at(0));
    for (float& g : gain_) g += op_.weight_offset;
    if (op_.has_bias) bias_ = to_floats(weights.at(1));
  }

  void run(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
           StepContext& step) const override {
    const TensorRef& x = inputs[0];
    const TensorRef& out = outputs[adds_ ? 1 : 0];
    const std::int64_t groups = op_.kind == NormKind::kGroup ? op_.groups : 1;
    const std::int64_t width = x.width / groups;
    step.pool.run_ranges(x.rows, 4, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t unit = begin * groups; unit < end * groups; ++unit) {
        const std::int64_t feature = unit % groups * width;
        isa_.norm({.x = x.f32() + unit * width,
                   .addend = adds_ ? inputs[1].f32() + unit * width : nullptr,
                   .sum = adds_ ? outputs[0].f32() + unit * width : nullptr,
                   .out = out.f32() + unit * width,
                   .gain = gain_.data() + feature,
                   .bias = op_.has_bias ? bias_.data() + feature : nullptr,
                   .width = width,
                   .eps = op_.eps,
                   .subtract_mean = op_.kind != NormKind::kRms});
      }
    });
  }

  std::int64_t packed_bytes() const override {
    return static_cast<std::int64_t>((gain_.size() + bias_.size()) * sizeof(float));
  }

 private:
  const IsaKernels& isa_;
  Norm op_;
  bool adds_;
  std::vector<float> gain_;
  std::vector<float> bias_;
};

}  // namespace

std::string reject_below(Isa isa, const NodeView& node, const CpuFeatures& features) {
  if (features.isa < isa)
    return fmt::format("needs {}; at hand: {}", isa == Isa::kAvx2 ? "avx2" : "avx512",
                       features.describe());
  return reject_not_float32(node);
}

std::unique_ptr<CpuKernel> make_simd(const IsaKernels& isa, const Norm& op, Weights weights) {
  return std::make_unique<NormSimd>(isa, op, false, weights);
}

std::unique_ptr<CpuKernel> make_simd(const IsaKernels& isa, const AddNorm& op, Weights weights) {
  const Norm norm{
      .kind = op.kind, .eps = op.eps, .weight_offset = op.weight_offset, .has_bias = op.has_bias};
  return std::make_unique<NormSimd>(isa, norm, true, weights);
}

}  // namespace tenon::cpu
