// Embedding, the specification and the only kernel: rows of the canonical table, dequantized as
// they are gathered. Rows of other vocabulary shards are zeros.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "backends/cpu/linear/linear_kernels.h"

namespace tenon::cpu {
namespace {

class EmbeddingReference final : public CpuKernel {
 public:
  EmbeddingReference(std::int64_t row_begin, QuantizedTensor table)
      : row_begin_(row_begin), table_(std::move(table)) {}

  void run(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
           StepContext& step) const override {
    const TensorRef& out = outputs[0];
    const std::int32_t* ids = inputs[0].i32();
    const std::int64_t tokens = inputs[0].rows * inputs[0].width;
    step.pool.run_ranges(tokens, 4, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t t = begin; t < end; ++t) {
        float* row = out.f32() + t * out.width;
        const std::int64_t index = ids[t] - row_begin_;
        if (index >= 0 && index < table_.rows())
          dequantize_row(table_, index, 0, out.width, row);
        else
          std::fill(row, row + out.width, 0.0F);
      }
    });
  }

 private:
  std::int64_t row_begin_;
  QuantizedTensor table_;  ///< as the reader gave it: usually a view of the mapped file
};

}  // namespace

std::unique_ptr<CpuKernel> make_reference(const Embedding& op, const NodeView&,
                                          std::vector<QuantizedTensor> weights, ThreadPool&) {
  return std::make_unique<EmbeddingReference>(op.row_begin, std::move(weights[0]));
}

}  // namespace tenon::cpu
