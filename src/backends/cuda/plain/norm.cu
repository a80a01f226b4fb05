// Norm and AddNorm, plain: a block a row (or group of a row), fp32 sums in a fixed order.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/device/element.h"
#include "backends/cuda/device/reduce.h"
#include "backends/cuda/device_weight.h"
#include "backends/cuda/plain/plain_kernels.h"

namespace tenon::cuda {
namespace {

constexpr int kThreads = 256;

struct NormArguments {
  const void* a = nullptr;
  const void* b = nullptr;  // AddNorm alone
  void* sum = nullptr;      // likewise
  void* out = nullptr;
  DataType a_type, b_type, sum_type, out_type;
  const float* gain = nullptr;  // offset already added
  const float* bias = nullptr;
  std::int64_t width = 0;  // of a row
  std::int64_t group = 0;  // features normalised together
  float eps = 0.F;
  bool centred = false;  // LayerNorm and GroupNorm take the mean away
};

__device__ float input(const NormArguments& n, std::int64_t at) {
  const float a = load(n.a, n.a_type, at);
  return n.b == nullptr ? a : a + load(n.b, n.b_type, at);
}

__global__ void __launch_bounds__(kThreads) norm_kernel(NormArguments n) {
  __shared__ float shared[kThreads / 32];
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.y) * n.group;  // feature
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * n.width;
  const auto count = static_cast<float>(n.group);
  float mean = 0.F;
  if (n.centred) {
    float sum = 0.F;
    for (std::int64_t i = threadIdx.x; i < n.group; i += kThreads) sum += input(n, row + first + i);
    mean = block_sum<kThreads>(sum, shared) / count;
  }
  float square = 0.F;
  for (std::int64_t i = threadIdx.x; i < n.group; i += kThreads) {
    const float x = input(n, row + first + i);
    if (n.sum != nullptr) store(n.sum, n.sum_type, row + first + i, x);
    square += (x - mean) * (x - mean);
  }
  const float factor = 1.F / sqrtf(block_sum<kThreads>(square, shared) / count + n.eps);
  for (std::int64_t i = threadIdx.x; i < n.group; i += kThreads) {
    const std::int64_t at = row + first + i;
    // Where a and sum share memory the sum is already there; the engine never plans that.
    float y = (input(n, at) - mean) * factor * n.gain[first + i];
    if (n.bias != nullptr) y += n.bias[first + i];
    store(n.out, n.out_type, at, y);
  }
}

class NormPlain final : public CudaKernel {
 public:
  NormPlain(NormKind kind, std::int64_t groups, float eps, const float* gain, const float* bias)
      : kind_(kind),
        groups_(kind == NormKind::kGroup ? groups : 1),
        eps_(eps),
        gain_(gain),
        bias_(bias) {}

  void launch(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
              const StepContext& step) const override {
    const TensorRef& x = inputs[0];
    if (x.elements() == 0) return;
    const bool fused = inputs.size() == 2;
    NormArguments n;
    n.a = x.data;
    n.a_type = x.dtype;
    if (fused) {
      n.b = inputs[1].data;
      n.b_type = inputs[1].dtype;
      n.sum = outputs[0].data;
      n.sum_type = outputs[0].dtype;
    }
    const TensorRef& out = outputs[fused ? 1 : 0];
    n.out = out.data;
    n.out_type = out.dtype;
    n.gain = gain_;
    n.bias = bias_;
    n.width = x.width;
    n.group = x.width / groups_;
    n.eps = eps_;
    n.centred = kind_ != NormKind::kRms;
    const dim3 grid(static_cast<unsigned>(x.rows), static_cast<unsigned>(groups_));
    norm_kernel<<<grid, kThreads, 0, step.stream>>>(n);
    check_launch("norm_plain");
  }

 private:
  NormKind kind_;
  std::int64_t groups_;
  float eps_;
  const float* gain_;
  const float* bias_;
};

template <class OpT>
std::unique_ptr<CudaKernel> make(const OpT& op, std::int64_t groups, const NodeView& node,
                                 const Weights& weights, LoadContext& load) {
  const float* gain = upload_floats(node.weights[0], weights[0], load, op.weight_offset);
  const float* bias = op.has_bias ? upload_floats(node.weights[1], weights[1], load) : nullptr;
  return std::make_unique<NormPlain>(op.kind, groups, op.eps, gain, bias);
}

}  // namespace

std::unique_ptr<CudaKernel> make_plain(const Norm& op, const NodeView& node, Weights weights,
                                       LoadContext& load) {
  return make(op, op.groups, node, weights, load);
}

std::unique_ptr<CudaKernel> make_plain(const AddNorm& op, const NodeView& node, Weights weights,
                                       LoadContext& load) {
  return make(op, 1, node, weights, load);
}

}  // namespace tenon::cuda
