// Linear and GatedLinear, plain: any weight form, dequantized as it is read, fp32 products summed
// in the order of the columns whatever the number of rows.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/device/activate.h"
#include "backends/cuda/device_weight.h"
#include "backends/cuda/plain/plain_kernels.h"

namespace tenon::cuda {
namespace {

constexpr int kTile = 64;      // rows, and outputs, of one block
constexpr int kDepth = 16;     // columns of one round
constexpr int kThreads = 256;  // each has 4 x 4 results
constexpr int kStride = kTile + 4;

struct LinearArguments {
  QuantizedWeight weight;
  QuantizedWeight up;  // GatedLinear alone
  const float* bias = nullptr;
  const float* up_bias = nullptr;
  ActivationKind kind = ActivationKind::kIdentity;
  const void* x = nullptr;
  void* out = nullptr;
  DataType x_type, out_type;
  std::int64_t rows = 0;
};

// 64 outputs x 16 columns of a weight, as [column][output]. Each thread has 4 columns of one
// output.
__device__ void load_weight(const QuantizedWeight& w, std::int64_t output, std::int64_t column,
                            float (*tile)[kStride]) {
  const int row = threadIdx.x / 4;
  const int first = threadIdx.x % 4 * 4;
  GroupFactors factors;
  for (int i = 0; i < 4; ++i) {
    const std::int64_t at = column + first + i;
    float value = 0.F;
    if (output + row < w.rows && at < w.columns) {
      if (w.plain) {
        value = load(w.codes, w.float_type, (output + row) * w.columns + at);
      } else {
        if (i == 0 || at % w.group_size == 0) factors = group_factors(w, output + row, at);
        value = dequantize(w, factors, output + row, at);
      }
    }
    tile[first + i][row] = value;
  }
}

__device__ void multiply(const float (*x)[kStride], const float (*w)[kStride],
                         float (&sums)[4][4]) {
  const int row = threadIdx.x / 16 * 4;
  const int output = threadIdx.x % 16 * 4;
  for (int k = 0; k < kDepth; ++k)
    for (int i = 0; i < 4; ++i)
      for (int j = 0; j < 4; ++j) sums[i][j] += x[k][row + i] * w[k][output + j];
}

template <bool kGated>
__global__ void __launch_bounds__(kThreads) linear_kernel(LinearArguments a) {
  __shared__ float x[kDepth][kStride];
  __shared__ float w[kDepth][kStride];
  __shared__ float u[kGated ? kDepth : 1][kStride];
  const std::int64_t output = static_cast<std::int64_t>(blockIdx.x) * kTile;
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.y) * kTile;
  const std::int64_t columns = a.weight.columns;
  float sums[4][4] = {};
  float up[4][4] = {};
  for (std::int64_t column = 0; column < columns; column += kDepth) {
    for (int i = threadIdx.x; i < kTile * kDepth; i += kThreads) {
      const int r = i / kDepth;
      const int c = i % kDepth;
      const bool there = row + r < a.rows && column + c < columns;
      x[c][r] = there ? load(a.x, a.x_type, (row + r) * columns + column + c) : 0.F;
    }
    load_weight(a.weight, output, column, w);
    if constexpr (kGated) load_weight(a.up, output, column, u);
    __syncthreads();
    multiply(x, w, sums);
    if constexpr (kGated) multiply(x, u, up);
    __syncthreads();
  }
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 4; ++j) {
      const std::int64_t r = row + threadIdx.x / 16 * 4 + i;
      const std::int64_t o = output + threadIdx.x % 16 * 4 + j;
      if (r >= a.rows || o >= a.weight.rows) continue;
      float y = sums[i][j] + (a.bias == nullptr ? 0.F : a.bias[o]);
      if constexpr (kGated)
        y = activate(a.kind, y) * (up[i][j] + (a.up_bias == nullptr ? 0.F : a.up_bias[o]));
      store(a.out, a.out_type, r * a.weight.rows + o, y);
    }
}

template <bool kGated>
void run(LinearArguments a, const TensorRef& x, const TensorRef& out, cudaStream_t stream) {
  if (x.rows == 0 || a.weight.rows == 0) return;
  a.x = x.data;
  a.x_type = x.dtype;
  a.out = out.data;
  a.out_type = out.dtype;
  a.rows = x.rows;
  const dim3 grid(static_cast<unsigned>((a.weight.rows + kTile - 1) / kTile),
                  static_cast<unsigned>((x.rows + kTile - 1) / kTile));
  linear_kernel<kGated><<<grid, kThreads, 0, stream>>>(a);
  check_launch(kGated ? "gated_linear_plain" : "linear_plain");
}

class LinearPlain final : public CudaKernel {
 public:
  explicit LinearPlain(std::vector<LinearArguments> segments) : segments_(std::move(segments)) {}
  void launch(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
              const StepContext& step) const override {
    for (std::size_t i = 0; i < segments_.size(); ++i)
      run<false>(segments_[i], inputs[0], outputs[i], step.stream);
  }

 private:
  std::vector<LinearArguments> segments_;
};

class GatedLinearPlain final : public CudaKernel {
 public:
  explicit GatedLinearPlain(const LinearArguments& arguments) : arguments_(arguments) {}
  void launch(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
              const StepContext& step) const override {
    run<true>(arguments_, inputs[0], outputs[0], step.stream);
  }

 private:
  LinearArguments arguments_;
};

}  // namespace

std::unique_ptr<CudaKernel> make_plain(const Linear& op, const NodeView& node, Weights weights,
                                       LoadContext& load) {
  const auto count = static_cast<std::size_t>(op.segments);
  std::vector<LinearArguments> segments(count);
  for (std::size_t i = 0; i < count; ++i) {
    segments[i].weight = upload_canonical(node.weights[i], weights[i], load);
    if (op.has_bias)
      segments[i].bias = upload_floats(node.weights[count + i], weights[count + i], load);
  }
  return std::make_unique<LinearPlain>(std::move(segments));
}

std::unique_ptr<CudaKernel> make_plain(const GatedLinear& op, const NodeView& node, Weights weights,
                                       LoadContext& load) {
  LinearArguments a;
  a.kind = op.kind;
  a.weight = upload_canonical(node.weights[0], weights[0], load);
  a.up = upload_canonical(node.weights[1], weights[1], load);
  if (op.has_bias) {
    a.bias = upload_floats(node.weights[2], weights[2], load);
    a.up_bias = upload_floats(node.weights[3], weights[3], load);
  }
  return std::make_unique<GatedLinearPlain>(a);
}

}  // namespace tenon::cuda
