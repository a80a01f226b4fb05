// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/device/epilogue.h"

#include "backends/cuda/cuda_api.h"
#include "backends/cuda/device/activate.h"
#include "backends/cuda/device/element.h"
#include "backends/cuda/device/four_elements.cuh"

namespace tenon::cuda {
namespace {

constexpr int kThreads = 256;

dim3 grid_of(std::int64_t rows, std::int64_t width) {
  return {static_cast<unsigned>((width + kThreads - 1) / kThreads), static_cast<unsigned>(rows)};
}

__global__ void __launch_bounds__(kThreads)
    bias_kernel(void* y, DataType type, const float* bias, std::int64_t width) {
  const std::int64_t i = blockIdx.x * static_cast<std::int64_t>(kThreads) + threadIdx.x;
  if (i >= width) return;
  const std::int64_t at = blockIdx.y * width + i;
  store(y, type, at, load(y, type, at) + bias[i]);
}

// The same, four columns a thread.
__global__ void __launch_bounds__(kThreads)
    bias_fours_kernel(void* y, DataType type, const float* bias, std::int64_t width) {
  const std::int64_t i = 4 * (blockIdx.x * static_cast<std::int64_t>(kThreads) + threadIdx.x);
  if (i >= width) return;
  const std::int64_t at = blockIdx.y * width + i;
  store_four(y, type, at, added(load_four(y, type, at), load_four(bias, i)));
}

__global__ void __launch_bounds__(kThreads)
    gate_kernel(ActivationKind kind, const void* both, DataType both_type, const float* gate_bias,
                const float* up_bias, void* out, DataType out_type, std::int64_t width) {
  const std::int64_t i = blockIdx.x * static_cast<std::int64_t>(kThreads) + threadIdx.x;
  if (i >= width) return;
  const std::int64_t row = blockIdx.y;
  float gate = load(both, both_type, row * 2 * width + i);
  float up = load(both, both_type, (row * 2 + 1) * width + i);
  if (gate_bias != nullptr) gate += gate_bias[i];
  if (up_bias != nullptr) up += up_bias[i];
  store(out, out_type, row * width + i, activate(kind, gate) * up);
}

// The same, four columns a thread.
__global__ void __launch_bounds__(kThreads)
    gate_fours_kernel(ActivationKind kind, const void* both, DataType both_type,
                      const float* gate_bias, const float* up_bias, void* out, DataType out_type,
                      std::int64_t width) {
  const std::int64_t i = 4 * (blockIdx.x * static_cast<std::int64_t>(kThreads) + threadIdx.x);
  if (i >= width) return;
  const std::int64_t row = blockIdx.y;
  float4 gate = load_four(both, both_type, row * 2 * width + i);
  float4 up = load_four(both, both_type, (row * 2 + 1) * width + i);
  if (gate_bias != nullptr) gate = added(gate, load_four(gate_bias, i));
  if (up_bias != nullptr) up = added(up, load_four(up_bias, i));
  store_four(out, out_type, row * width + i, gated_four(kind, gate, up));
}

__device__ __forceinline__ void add_eight(Eight& x, const float* bias, std::int64_t at) {
  if (bias == nullptr) return;
  x.low = added(x.low, load_four(bias, at));
  x.high = added(x.high, load_four(bias, at + 4));
}

// To 2^-16 of itself: for what is stored in 16 bits.
__device__ __forceinline__ float coarse_silu(float x) { return __fdividef(x, 1.F + __expf(-x)); }

// Eight, where both and out have 16 bits an element: 16 bytes of each. kUsual: all are bfloat16,
// and the activation is SiLU.
template <bool kUsual>
__global__ void __launch_bounds__(kThreads)
    gate_eights_kernel(ActivationKind kind, const void* both, DataType both_type,
                       const float* gate_bias, const float* up_bias, void* out, DataType out_type,
                       std::int64_t width) {
  const std::int64_t i = 8 * (blockIdx.x * static_cast<std::int64_t>(kThreads) + threadIdx.x);
  if (i >= width) return;
  if (kUsual) both_type = out_type = DataType::kBFloat16;
  const std::int64_t row = blockIdx.y;
  const auto* const at = static_cast<const std::uint16_t*>(both) + row * 2 * width + i;
  const uint4 raw_gate = *reinterpret_cast<const uint4*>(at);
  const uint4 raw_up = *reinterpret_cast<const uint4*>(at + width);
  Eight gate = widened(both_type, raw_gate);
  Eight up = widened(both_type, raw_up);
  add_eight(gate, gate_bias, i);
  add_eight(up, up_bias, i);
  Eight y;
  if (kUsual) {
    const auto silu = [](float4 x) {
      return make_float4(coarse_silu(x.x), coarse_silu(x.y), coarse_silu(x.z), coarse_silu(x.w));
    };
    y = {multiplied(silu(gate.low), up.low), multiplied(silu(gate.high), up.high)};
  } else {
    y = {gated_four(kind, gate.low, up.low), gated_four(kind, gate.high, up.high)};
  }
  store_eight(out, out_type, row * width + i, y);
}

bool at_16_bytes(const void* data) { return reinterpret_cast<std::uintptr_t>(data) % 16 == 0; }

}  // namespace

void launch_add_bias(void* y, DataType type, const float* bias, std::int64_t rows,
                     std::int64_t width, cudaStream_t stream) {
  if (rows == 0 || width == 0) return;
  if (width % 4 == 0 && at_16_bytes(y) && at_16_bytes(bias))
    bias_fours_kernel<<<grid_of(rows, width / 4), kThreads, 0, stream>>>(y, type, bias, width);
  else
    bias_kernel<<<grid_of(rows, width), kThreads, 0, stream>>>(y, type, bias, width);
  check_launch("add_bias");
}

void launch_gate(ActivationKind kind, const void* both, DataType both_type, const float* gate_bias,
                 const float* up_bias, void* out, DataType out_type, std::int64_t rows,
                 std::int64_t width, cudaStream_t stream) {
  if (rows == 0 || width == 0) return;
  const bool half = both_type != DataType::kFloat32 && out_type != DataType::kFloat32;
  const bool usual = both_type == DataType::kBFloat16 && out_type == DataType::kBFloat16 &&
                     kind == ActivationKind::kSilu;
  const auto eights = usual ? gate_eights_kernel<true> : gate_eights_kernel<false>;
  if (width % 8 == 0 && half)
    eights<<<grid_of(rows, width / 8), kThreads, 0, stream>>>(kind, both, both_type, gate_bias,
                                                              up_bias, out, out_type, width);
  else if (width % 4 == 0)
    gate_fours_kernel<<<grid_of(rows, width / 4), kThreads, 0, stream>>>(
        kind, both, both_type, gate_bias, up_bias, out, out_type, width);
  else
    gate_kernel<<<grid_of(rows, width), kThreads, 0, stream>>>(kind, both, both_type, gate_bias,
                                                               up_bias, out, out_type, width);
  check_launch("gate");
}

}  // namespace tenon::cuda
