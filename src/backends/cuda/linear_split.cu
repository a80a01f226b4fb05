// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/cuda_api.h"
#include "backends/cuda/device/element.h"
#include "backends/cuda/linear_split.h"

namespace tenon::cuda {
namespace {

constexpr int kThreads = 256;

// A thread has 16 bytes of a row.
template <class T>
__global__ void __launch_bounds__(kThreads) split_kernel(const RowSplit a) {
  constexpr int kElements = 16 / sizeof(T);
  const std::int64_t column =
      (blockIdx.x * static_cast<std::int64_t>(kThreads) + threadIdx.x) * kElements;
  if (column >= a.width) return;
  const std::int64_t row = blockIdx.y;
  int s = 0;
  while (s + 1 < a.segments && column >= a.out[s + 1].begin) ++s;
  const RowSplit::Segment& out = a.out[s];
  const std::int64_t at = column - out.begin;
  uint4 words =
      *reinterpret_cast<const uint4*>(static_cast<const T*>(a.joined) + row * a.width + column);
  T* const elements = reinterpret_cast<T*>(&words);
  if (out.bias != nullptr)
#pragma unroll
    for (int i = 0; i < kElements; ++i)
      elements[i] = from_float<T>(to_float(elements[i]) + out.bias[at + i]);
  *reinterpret_cast<uint4*>(static_cast<T*>(out.data) + row * out.width + at) = words;
}

template <class T>
void launch(const RowSplit& split, cudaStream_t stream) {
  constexpr std::int64_t kColumns = kThreads * (16 / sizeof(T));
  const dim3 grid(static_cast<unsigned>((split.width + kColumns - 1) / kColumns),
                  static_cast<unsigned>(split.rows));
  split_kernel<T><<<grid, kThreads, 0, stream>>>(split);
  check_launch("linear_split");
}

}  // namespace

void launch_split(const RowSplit& split, cudaStream_t stream) {
  if (split.rows == 0 || split.width == 0) return;
  switch (split.type) {
    case DataType::kFloat16: return launch<__half>(split, stream);
    case DataType::kBFloat16: return launch<__nv_bfloat16>(split, stream);
    default: return launch<float>(split, stream);
  }
}

}  // namespace tenon::cuda
