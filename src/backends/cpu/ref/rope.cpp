// Rope, the specification: rotates pairs of each head's first rotary_dim features by the token's
// angles (Su et al., 2021, "RoFormer"); the others pass through.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/ref/reference.h"
#include "backends/cpu/rope_tables.h"
#include "core/check.h"

namespace tenon::cpu {
namespace {

class RopeReference final : public CpuKernel {
 public:
  explicit RopeReference(const Rope& op) : op_(op) {}

  void run(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
           StepContext& step) const override {
    TENON_ASSERT(step.rope != nullptr);
    const float* table = step.rope->find(op_, inputs[1].i32(), step.batch, step.pool);
    const std::int64_t width = op_.heads * op_.head_dim;
    step.pool.run_ranges(inputs[0].rows, 4, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t token = begin; token < end; ++token)
        for (std::int64_t head = 0; head < op_.heads; ++head) {
          const std::int64_t at = token * width + head * op_.head_dim;
          rotate(inputs[0].f32() + at, outputs[0].f32() + at, table + token * op_.rotary_dim);
        }
    });
  }

 private:
  void rotate(const float* x, float* out, const float* angles) const {
    const std::int64_t half = op_.rotary_dim / 2;
    const bool neox = op_.style == RopeStyle::kNeox;
    for (std::int64_t i = 0; i < half; ++i) {
      const std::int64_t a = neox ? i : 2 * i;
      const std::int64_t b = neox ? i + half : 2 * i + 1;
      const float first = x[a];
      const float second = x[b];
      out[a] = first * angles[i] - second * angles[half + i];
      out[b] = second * angles[i] + first * angles[half + i];
    }
    for (std::int64_t i = op_.rotary_dim; i < op_.head_dim; ++i) out[i] = x[i];
  }

  Rope op_;
};

}  // namespace

std::unique_ptr<CpuKernel> make_reference(const Rope& op, const NodeView&, Weights, ThreadPool&) {
  return std::make_unique<RopeReference>(op);
}

}  // namespace tenon::cpu
