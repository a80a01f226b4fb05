// Activation, GatedActivation and Softcap over vectors.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/simd_kernels.h"

namespace tenon::cpu {
namespace {

// out[begin, end) from the inputs' same elements; the body is a call into the table.
template <class Body>
class ElementwiseSimd final : public CpuKernel {
 public:
  explicit ElementwiseSimd(Body body) : body_(body) {}

  void run(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
           StepContext& step) const override {
    const TensorRef& x = inputs[0];
    step.pool.run_ranges(x.rows * x.width, 4096, [&](std::int64_t begin, std::int64_t end, int) {
      body_(inputs, outputs[0].f32() + begin, begin, end - begin);
    });
  }

 private:
  Body body_;
};

template <class Body>
std::unique_ptr<CpuKernel> elementwise(Body body) {
  return std::make_unique<ElementwiseSimd<Body>>(body);
}

using Inputs = std::span<const TensorRef>;

}  // namespace

std::unique_ptr<CpuKernel> make_simd(const IsaKernels& isa, const Activation& op, Weights) {
  return elementwise([&isa, op](Inputs in, float* out, std::int64_t at, std::int64_t count) {
    isa.activation(op.kind, in[0].f32() + at, out, count);
  });
}

std::unique_ptr<CpuKernel> make_simd(const IsaKernels& isa, const GatedActivation& op, Weights) {
  return elementwise([&isa, op](Inputs in, float* out, std::int64_t at, std::int64_t count) {
    isa.gated_activation(op.kind, in[0].f32() + at, in[1].f32() + at, out, count);
  });
}

std::unique_ptr<CpuKernel> make_simd(const IsaKernels& isa, const Softcap& op, Weights) {
  return elementwise([&isa, op](Inputs in, float* out, std::int64_t at, std::int64_t count) {
    isa.softcap(op.cap, in[0].f32() + at, out, count);
  });
}

}  // namespace tenon::cpu
