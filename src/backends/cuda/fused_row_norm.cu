// Norm and AddNorm, a block a row: the row is read once, stays in registers, and is written once.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>

#include "backends/cuda/device/four_elements.cuh"
#include "backends/cuda/device/launch_early.cuh"
#include "backends/cuda/device/reduce.h"
#include "backends/cuda/device_weight.h"
#include "backends/cuda/fused_kernels.h"

namespace tenon::cuda {
namespace {

constexpr int kMaxThreads = 1024;
constexpr int kMaxVectors = 8;  // of four elements, a thread
constexpr int kManyThreads = 512;
constexpr int kManyBlocks = 3;  // of a multiprocessor
constexpr std::int64_t kMaxWidth = 4LL * kMaxVectors * kMaxThreads;

struct RowNormArguments {
  const void* a = nullptr;
  const void* b = nullptr;  // AddNorm alone
  void* sum = nullptr;      // likewise
  void* out = nullptr;
  DataType a_type, b_type, sum_type, out_type;
  const float* gain = nullptr;  // offset already added
  const float* bias = nullptr;
  std::int32_t width = 0;
  float eps = 0.F;
  bool centred = false;  // LayerNorm takes the mean away
};

// Over a block of any number of warps; all threads get it. `shared` is used by no other sum.
__device__ __forceinline__ float sum_over_block(float x, float* shared) {
  x = warp_sum(x);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
  __syncthreads();
  const int lane = threadIdx.x % 32;
  return warp_sum(lane < static_cast<int>(blockDim.x) / 32 ? shared[lane] : 0.F);
}

__device__ __forceinline__ float total(float4 x) { return (x.x + x.y) + (x.z + x.w); }

__device__ __forceinline__ float4 floats_at(const float* data, int vector) {
  return reinterpret_cast<const float4*>(data)[vector];
}

// kFloats: what is read, and the sum, are float32, as they are in a model that runs in 16 bits.
// Code that has no choice to make is short, and a launch of few rows takes as long as its code is.
// kMany: rows for several turns of all multiprocessors, which have so few registers a thread that
// their threads are all there: some load while others wait for sums.
template <int kVectors, bool kFloats, bool kMany = false>
__global__ void __launch_bounds__(kMany ? kManyThreads : kMaxThreads, kMany ? kManyBlocks : 1)
    row_norm_kernel(RowNormArguments n) {
  __shared__ float of_means[32];
  __shared__ float of_squares[32];
  // Rows of few vectors: the gain, which is a weight, is fetched while the launch before still
  // runs, and all of the row is asked for before any of it is waited for. Longer rows have no
  // registers to hold so much; of many rows only the first find no gain in the cache.
  constexpr bool kHeld = kVectors <= 2 && kFloats && !kMany;
  constexpr int kTogether = kHeld || kMany ? kVectors : 1;
  const DataType a_type = kFloats ? DataType::kFloat32 : n.a_type;
  const DataType b_type = kFloats ? DataType::kFloat32 : n.b_type;
  const DataType sum_type = kFloats ? DataType::kFloat32 : n.sum_type;
  const int vectors = n.width / 4;
  const auto at = [](int i) { return static_cast<int>(threadIdx.x + i * blockDim.x); };
  let_next_start();
  float4 gain[kTogether];
  if constexpr (kHeld) {
#pragma unroll
    for (int i = 0; i < kVectors; ++i)
      if (at(i) < vectors) gain[i] = floats_at(n.gain, at(i));
  }
  wait_for_inputs();

  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * n.width;
  float4 x[kVectors];
  float sum = 0.F;
#pragma unroll
  for (int begin = 0; begin < kVectors; begin += kTogether) {
    float4 first[kTogether];
    float4 second[kTogether];
#pragma unroll
    for (int j = 0; j < kTogether; ++j) {
      if (at(begin + j) >= vectors) continue;
      first[j] = load_four(n.a, a_type, row + 4 * at(begin + j));
      if (n.b != nullptr) second[j] = load_four(n.b, b_type, row + 4 * at(begin + j));
    }
#pragma unroll
    for (int j = 0; j < kTogether; ++j) {
      const int i = begin + j;
      x[i] = make_float4(0.F, 0.F, 0.F, 0.F);
      if (at(i) >= vectors) continue;
      x[i] = first[j];
      if (n.b != nullptr) {
        const float4 b = second[j];
        x[i] = make_float4(x[i].x + b.x, x[i].y + b.y, x[i].z + b.z, x[i].w + b.w);
        store_four(n.sum, sum_type, row + 4 * at(i), x[i]);
      }
      sum += total(x[i]);
    }
  }
  const auto count = static_cast<float>(n.width);
  const float mean = n.centred ? sum_over_block(sum, of_means) / count : 0.F;
  float square = 0.F;
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    if (at(i) >= vectors) continue;
    x[i] = make_float4(x[i].x - mean, x[i].y - mean, x[i].z - mean, x[i].w - mean);
    square +=
        total(make_float4(x[i].x * x[i].x, x[i].y * x[i].y, x[i].z * x[i].z, x[i].w * x[i].w));
  }
  const float factor = 1.F / sqrtf(sum_over_block(square, of_squares) / count + n.eps);
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    if (at(i) >= vectors) continue;
    const float4 g = kHeld ? gain[kHeld ? i : 0] : floats_at(n.gain, at(i));
    float4 b = make_float4(0.F, 0.F, 0.F, 0.F);
    if (n.bias != nullptr) b = floats_at(n.bias, at(i));
    store_four(n.out, n.out_type, row + 4 * at(i),
               make_float4(x[i].x * factor * g.x + b.x, x[i].y * factor * g.y + b.y,
                           x[i].z * factor * g.z + b.z, x[i].w * factor * g.w + b.w));
  }
}

class RowNorm final : public CudaKernel {
 public:
  RowNorm(NormKind kind, float eps, const float* gain, const float* bias) {
    n_.gain = gain;
    n_.bias = bias;
    n_.eps = eps;
    n_.centred = kind != NormKind::kRms;
  }

  void launch(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
              const StepContext& step) const override {
    const TensorRef& x = inputs[0];
    if (x.rows == 0) return;
    RowNormArguments n = n_;
    n.a = x.data;
    n.a_type = x.dtype;
    n.width = static_cast<std::int32_t>(x.width);
    if (inputs.size() == 2) {
      n.b = inputs[1].data;
      n.b_type = inputs[1].dtype;
      n.sum = outputs[0].data;
      n.sum_type = outputs[0].dtype;
    }
    const TensorRef& out = outputs[inputs.size() - 1];
    n.out = out.data;
    n.out_type = out.dtype;
    const std::int64_t vectors = x.width / 4;
    // Two vectors a thread: of enough threads to hide the loads, and not too many to wait for.
    const std::int64_t threads =
        std::clamp<std::int64_t>((vectors / 2 + 31) / 32 * 32, 32, kMaxThreads);
    const auto run = [&](auto kernel) {
      launch_early(kernel, "row_norm", dim3(static_cast<unsigned>(x.rows)),
                   static_cast<unsigned>(threads), 0, step.features->capability >= 90, step.stream,
                   n);
    };
    const std::int64_t each = (vectors + threads - 1) / threads;
    const auto is_float = [](DataType type) { return type == DataType::kFloat32; };
    const bool floats =
        is_float(n.a_type) && (n.b == nullptr || (is_float(n.b_type) && is_float(n.sum_type)));
    const bool many = threads <= kManyThreads &&
                      x.rows >= std::int64_t{2} * kManyBlocks * step.features->multiprocessors;
    if (each <= 2 && floats && many)
      run(row_norm_kernel<2, true, true>);
    else if (each <= 2)
      floats ? run(row_norm_kernel<2, true>) : run(row_norm_kernel<2, false>);
    else if (each <= 4)
      floats ? run(row_norm_kernel<4, true>) : run(row_norm_kernel<4, false>);
    else
      floats ? run(row_norm_kernel<kMaxVectors, true>) : run(row_norm_kernel<kMaxVectors, false>);
  }

 private:
  RowNormArguments n_;
};

std::string reject(NormKind kind, std::int64_t groups, const NodeView& node) {
  if (kind == NormKind::kGroup && groups > 1) return "groups of features";
  const std::int64_t width = node.inputs[0].shape.back().extent;
  if (width % 4 != 0) return "width " + std::to_string(width) + " is no multiple of 4";
  if (width > kMaxWidth) return "width " + std::to_string(width) + " is too large";
  for (const auto* types : {&node.inputs, &node.outputs})
    for (const ValueType& type : *types)
      if (type.dtype != DataType::kFloat32 && type.dtype != DataType::kFloat16 &&
          type.dtype != DataType::kBFloat16)
        return std::string("a value stored as ") + to_string(type.dtype);
  return {};
}

template <class OpT>
std::unique_ptr<CudaKernel> make(const OpT& op, const NodeView& node, const Weights& weights,
                                 LoadContext& load) {
  const float* gain = upload_floats(node.weights[0], weights[0], load, op.weight_offset);
  const float* bias = op.has_bias ? upload_floats(node.weights[1], weights[1], load) : nullptr;
  return std::make_unique<RowNorm>(op.kind, op.eps, gain, bias);
}

}  // namespace

std::string reject_row_norm(const Norm& op, const NodeView& node, const DeviceFeatures&) {
  return reject(op.kind, op.groups, node);
}
std::string reject_row_norm(const AddNorm& op, const NodeView& node, const DeviceFeatures&) {
  return reject(op.kind, 1, node);
}

std::unique_ptr<CudaKernel> make_row_norm(const Norm& op, const NodeView& node, Weights weights,
                                          LoadContext& load) {
  return make(op, node, weights, load);
}
std::unique_ptr<CudaKernel> make_row_norm(const AddNorm& op, const NodeView& node, Weights weights,
                                          LoadContext& load) {
  return make(op, node, weights, load);
}

}  // namespace tenon::cuda
