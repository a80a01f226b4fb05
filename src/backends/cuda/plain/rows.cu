// Concat, Slice and GatherRows, plain: rows or columns moved, converted where the types differ.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/device/element.h"
#include "backends/cuda/plain/plain_kernels.h"

namespace tenon::cuda {
namespace {

constexpr int kThreads = 256;

// Columns of one matrix to columns of another; `index`, where there is one, names the source rows.
struct Move {
  const void* from = nullptr;
  void* to = nullptr;
  const std::int32_t* index = nullptr;
  DataType from_type, to_type;
  std::int64_t rows = 0;       // of the target
  std::int64_t from_rows = 0;  // an index past them gives zeros
  std::int64_t width = 0;      // columns moved
  std::int64_t from_stride = 0;
  std::int64_t to_stride = 0;
};

__global__ void __launch_bounds__(kThreads) move_kernel(Move m) {
  const std::int64_t row = blockIdx.x;
  const std::int64_t i = blockIdx.y * static_cast<std::int64_t>(kThreads) + threadIdx.x;
  if (i >= m.width) return;
  const std::int64_t source = m.index == nullptr ? row : m.index[row];
  const bool there = source >= 0 && source < m.from_rows;
  if (m.to_type == DataType::kInt32) {
    const auto* from = static_cast<const std::int32_t*>(m.from);
    static_cast<std::int32_t*>(m.to)[row * m.to_stride + i] =
        there ? from[source * m.from_stride + i] : 0;
    return;
  }
  const float x = there ? load(m.from, m.from_type, source * m.from_stride + i) : 0.F;
  store(m.to, m.to_type, row * m.to_stride + i, x);
}

void move(const Move& m, cudaStream_t stream) {
  if (m.rows == 0 || m.width == 0) return;
  const dim3 grid(static_cast<unsigned>(m.rows),
                  static_cast<unsigned>((m.width + kThreads - 1) / kThreads));
  move_kernel<<<grid, kThreads, 0, stream>>>(m);
  check_launch("rows_plain");
}

std::byte* column(const TensorRef& value, std::int64_t index) {
  return value.data + index * static_cast<std::int64_t>(size_of(value.dtype));
}

Move between(const TensorRef& from, const TensorRef& to) {
  Move m;
  m.from = from.data;
  m.to = to.data;
  m.from_type = from.dtype;
  m.to_type = to.dtype;
  m.rows = to.rows;
  m.from_rows = from.rows;
  m.from_stride = from.width;
  m.to_stride = to.width;
  return m;
}

class ConcatPlain final : public CudaKernel {
 public:
  void launch(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
              const StepContext& step) const override {
    std::int64_t next = 0;
    for (const TensorRef& input : inputs) {
      Move m = between(input, outputs[0]);
      m.to = column(outputs[0], next);
      m.width = input.width;
      move(m, step.stream);
      next += input.width;
    }
  }
};

class SlicePlain final : public CudaKernel {
 public:
  explicit SlicePlain(const Slice& op) : op_(op) {}
  void launch(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
              const StepContext& step) const override {
    Move m = between(inputs[0], outputs[0]);
    m.from = column(inputs[0], op_.begin);
    m.width = op_.end - op_.begin;
    move(m, step.stream);
  }

 private:
  Slice op_;
};

class GatherRowsPlain final : public CudaKernel {
 public:
  void launch(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
              const StepContext& step) const override {
    Move m = between(inputs[0], outputs[0]);
    m.index = inputs[1].as<const std::int32_t>();
    m.width = outputs[0].width;
    move(m, step.stream);
  }
};

}  // namespace

std::unique_ptr<CudaKernel> make_plain(const Concat&, const NodeView&, Weights, LoadContext&) {
  return std::make_unique<ConcatPlain>();
}

std::unique_ptr<CudaKernel> make_plain(const Slice& op, const NodeView&, Weights, LoadContext&) {
  return std::make_unique<SlicePlain>(op);
}

std::unique_ptr<CudaKernel> make_plain(const GatherRows&, const NodeView&, Weights, LoadContext&) {
  return std::make_unique<GatherRowsPlain>();
}

}  // namespace tenon::cuda
