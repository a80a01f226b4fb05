// Norm, the specification: mean and variance of each row (or group) in fp32.
// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "backends/cpu/ref/reference.h"

namespace tenon::cpu {
namespace {

class NormReference final : public CpuKernel {
 public:
  NormReference(const Norm& op, const std::vector<QuantizedTensor>& weights) : op_(op) {
    gain_ = to_floats(weights.at(0));
    for (float& g : gain_) g += op_.weight_offset;
    if (op_.has_bias) bias_ = to_floats(weights.at(1));
  }

  void run(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
           StepContext& step) const override {
    const TensorRef& x = inputs[0];
    const std::int64_t groups = op_.kind == NormKind::kGroup ? op_.groups : 1;
    const std::int64_t width = x.width / groups;
    step.pool.run_ranges(x.rows, 1, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t row = begin; row < end; ++row)
        for (std::int64_t g = 0; g < groups; ++g)
          normalise(x.f32() + row * x.width + g * width,
                    outputs[0].f32() + row * x.width + g * width, g * width, width);
    });
  }

  std::int64_t packed_bytes() const override {
    return static_cast<std::int64_t>((gain_.size() + bias_.size()) * sizeof(float));
  }

 private:
  void normalise(const float* x, float* out, std::int64_t first, std::int64_t width) const {
    const auto count = static_cast<float>(width);
    float mean = 0.F;
    if (op_.kind != NormKind::kRms) {
      for (std::int64_t i = 0; i < width; ++i) mean += x[i];
      mean /= count;
    }
    float square = 0.F;
    for (std::int64_t i = 0; i < width; ++i) square += (x[i] - mean) * (x[i] - mean);
    const float factor = 1.F / std::sqrt(square / count + op_.eps);
    for (std::int64_t i = 0; i < width; ++i) {
      const auto feature = static_cast<std::size_t>(first + i);
      out[i] = (x[i] - mean) * factor * gain_[feature];
      if (op_.has_bias) out[i] += bias_[feature];
    }
  }

  Norm op_;
  std::vector<float> gain_;
  std::vector<float> bias_;
};

}  // namespace

std::unique_ptr<CpuKernel> make_reference(const Norm& op, const NodeView&, Weights weights,
                                          ThreadPool&) {
  return std::make_unique<NormReference>(op, weights);
}

}  // namespace tenon::cpu
