// What a block does together: sums, and where a place falls among what its threads hold. Sums are
// of integers, so they depend on no order.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace tenon::cuda {

constexpr int kSamplerThreads = 1024;
constexpr int kSamplerWarps = kSamplerThreads / 32;  // a lane each, where warps' results are joined
static_assert(kSamplerWarps == 32);
constexpr int kBins = 2 * kSamplerThreads;
constexpr std::uint32_t kAllLanes = 0xFFFFFFFFU;

/// Weights as integers: kWeightOne is 1.
using Mass = unsigned long long;
constexpr float kWeightOne = 1099511627776.F;  // 2^40

__device__ inline float never() { return -INFINITY; }

/// Order of floats as order of integers; both zeros are one.
__device__ inline std::uint32_t key_of(float x) {
  const std::uint32_t bits = __float_as_uint(x + 0.F);
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}
__device__ inline float value_of(std::uint32_t key) {
  return __uint_as_float((key & 0x80000000U) != 0 ? key & 0x7FFFFFFFU : ~key);
}

struct SamplerShared {
  Mass bins[kBins];
  Mass entries[kSamplerThreads];  ///< candidates, a thread each
  Mass runs[kSamplerWarps];       ///< of a row, a warp each
  Mass mass[kSamplerWarps];
  double sum[kSamplerWarps];
  float value[kSamplerWarps];
  std::int32_t token[kSamplerWarps];
  Mass above;
  Mass at;
  std::int32_t found;
};

__device__ inline int warp_of_thread() { return static_cast<int>(threadIdx.x / 32); }
__device__ inline int lane_of_thread() { return static_cast<int>(threadIdx.x % 32); }

template <class T>
__device__ T warp_total(T x) {
  for (int lane = 16; lane > 0; lane /= 2) x += __shfl_xor_sync(kAllLanes, x, lane);
  return x;
}

/// Sum of lanes 0 to this one.
__device__ inline Mass warp_scan(Mass x) {
  for (int lane = 1; lane < 32; lane *= 2) {
    const Mass other = __shfl_up_sync(kAllLanes, x, lane);
    if (lane_of_thread() >= lane) x += other;
  }
  return x;
}

__device__ inline Mass block_total(Mass x, SamplerShared& shared) {
  x = warp_total(x);
  __syncthreads();
  if (lane_of_thread() == 0) shared.mass[warp_of_thread()] = x;
  __syncthreads();
  return warp_total(shared.mass[lane_of_thread()]);
}

/// Sum of threads 0 to this one.
__device__ inline Mass block_scan(Mass x, SamplerShared& shared) {
  x = warp_scan(x);
  __syncthreads();
  if (lane_of_thread() == 31) shared.mass[warp_of_thread()] = x;
  __syncthreads();
  const Mass warps = warp_scan(shared.mass[lane_of_thread()]);
  const Mass before = __shfl_sync(kAllLanes, warps, max(warp_of_thread() - 1, 0));
  return warp_of_thread() == 0 ? x : x + before;
}

/// In an order that depends on nothing but which thread has what.
__device__ inline double block_sum(double x, SamplerShared& shared) {
  x = warp_total(x);
  __syncthreads();
  if (lane_of_thread() == 0) shared.sum[warp_of_thread()] = x;
  __syncthreads();
  return warp_total(shared.sum[lane_of_thread()]);
}

/// Where threads' masses lie end to end, what the thread gave as `id` whose share holds `target`;
/// -1 where target is not below their sum.
__device__ inline std::int32_t pick(Mass mine, Mass target, std::int32_t id,
                                    SamplerShared& shared) {
  const Mass through = block_scan(mine, shared);
  if (threadIdx.x == 0) shared.found = -1;
  __syncthreads();
  if (target >= through - mine && target < through) shared.found = id;
  __syncthreads();
  return shared.found;
}

}  // namespace tenon::cuda
