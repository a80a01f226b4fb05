// Embedding, plain: rows of the canonical table, dequantized as they are gathered. Rows of other
// vocabulary shards are zeros.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/device_weight.h"
#include "backends/cuda/plain/plain_kernels.h"

namespace tenon::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads)
    embedding_kernel(QuantizedWeight table, const std::int32_t* ids, std::int64_t row_begin,
                     void* out, DataType type) {
  const std::int64_t i = blockIdx.y * static_cast<std::int64_t>(kThreads) + threadIdx.x;
  if (i >= table.columns) return;
  const std::int64_t row = ids[blockIdx.x] - row_begin;
  const bool mine = row >= 0 && row < table.rows;
  store(out, type, blockIdx.x * table.columns + i, mine ? element(table, row, i) : 0.F);
}

class EmbeddingPlain final : public CudaKernel {
 public:
  EmbeddingPlain(const Embedding& op, const QuantizedWeight& table) : op_(op), table_(table) {}

  void launch(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
              const StepContext& step) const override {
    const std::int64_t tokens = inputs[0].elements();
    if (tokens == 0) return;
    const dim3 grid(static_cast<unsigned>(tokens),
                    static_cast<unsigned>((table_.columns + kThreads - 1) / kThreads));
    embedding_kernel<<<grid, kThreads, 0, step.stream>>>(table_, inputs[0].as<const std::int32_t>(),
                                                         op_.row_begin, outputs[0].data,
                                                         outputs[0].dtype);
    check_launch("embedding_plain");
  }

 private:
  Embedding op_;
  QuantizedWeight table_;
};

}  // namespace

std::unique_ptr<CudaKernel> make_plain(const Embedding& op, const NodeView& node, Weights weights,
                                       LoadContext& load) {
  return std::make_unique<EmbeddingPlain>(op, upload_canonical(node.weights[0], weights[0], load));
}

}  // namespace tenon::cuda
