// RopeCacheWrite, the specification: Rope of q, Rope of k, then CacheWrite.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/ref/reference.h"

namespace tenon::cpu {
namespace {

class RopeCacheWriteReference final : public CpuKernel {
 public:
  RopeCacheWriteReference(const RopeCacheWrite& op, const NodeView& node, ThreadPool& pool)
      : write_op_(op.write) {
    Rope of_keys = op.rope;
    of_keys.heads = op.write.kv_heads;
    rotate_queries_ = make_reference(op.rope, node, {}, pool);
    rotate_keys_ = make_reference(of_keys, node, {}, pool);
    write_ = make_reference(op.write, node, {}, pool);
  }

  void run(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
           StepContext& step) const override {
    const TensorRef queries[] = {inputs[0], inputs[3]};
    const TensorRef keys[] = {inputs[1], inputs[3]};
    TensorRef rotated = inputs[1];
    rotated.data = step.workspace.data();
    const TensorRef written[] = {rotated, inputs[2]};
    rotate_queries_->run(queries, outputs.first(1), step);
    rotate_keys_->run(keys, std::span(&rotated, 1), step);
    write_->run(written, outputs.subspan(1), step);
  }

  std::int64_t workspace_bytes(const StepSizes& limits, int) const override {
    return rotated_key_bytes(write_op_, limits);
  }

 private:
  static std::int64_t rotated_key_bytes(const CacheWrite& op, const StepSizes& limits) {
    return byte_count(DataType::kFloat32, {limits.tokens, op.kv_heads, op.head_dim}, "keys");
  }

  CacheWrite write_op_;
  std::unique_ptr<CpuKernel> rotate_queries_;
  std::unique_ptr<CpuKernel> rotate_keys_;
  std::unique_ptr<CpuKernel> write_;
};

}  // namespace

std::unique_ptr<CpuKernel> make_reference(const RopeCacheWrite& op, const NodeView& node, Weights,
                                          ThreadPool& pool) {
  return std::make_unique<RopeCacheWriteReference>(op, node, pool);
}

}  // namespace tenon::cpu
