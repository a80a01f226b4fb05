// AddNorm, the specification: Add, then Norm.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/ref/reference.h"

namespace tenon::cpu {
namespace {

class AddNormReference final : public CpuKernel {
 public:
  AddNormReference(std::unique_ptr<CpuKernel> add, std::unique_ptr<CpuKernel> norm)
      : add_(std::move(add)), norm_(std::move(norm)) {}

  void run(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
           StepContext& step) const override {
    add_->run(inputs, outputs.first(1), step);
    norm_->run(outputs.first(1), outputs.subspan(1, 1), step);
  }

  std::int64_t packed_bytes() const override { return norm_->packed_bytes(); }

 private:
  std::unique_ptr<CpuKernel> add_;
  std::unique_ptr<CpuKernel> norm_;
};

}  // namespace

std::unique_ptr<CpuKernel> make_reference(const AddNorm& op, const NodeView& node, Weights weights,
                                          ThreadPool& pool) {
  const Norm norm{
      .kind = op.kind, .eps = op.eps, .weight_offset = op.weight_offset, .has_bias = op.has_bias};
  return std::make_unique<AddNormReference>(make_reference(Add{}, node, {}, pool),
                                            make_reference(norm, node, std::move(weights), pool));
}

}  // namespace tenon::cpu
