// What a block does together on a row: sums, the best token, the value on which a rank or a mass
// falls, the token on which a place falls. Sums are of integers, so they depend on no order, and
// nothing is sorted: values are found digit by digit of their bits.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace tenon::cuda {

constexpr int kSamplerThreads = 1024;
constexpr int kSamplerWarps = kSamplerThreads / 32;
constexpr int kBins = 2 * kSamplerThreads;

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
  Mass mass[kSamplerWarps];
  double sum[kSamplerWarps];
  float value[kSamplerWarps];
  std::int32_t token[kSamplerWarps];
  Mass above;
  Mass at;
  std::int32_t found;
};

__device__ inline Mass warp_total(Mass x) {
  for (int lane = 16; lane > 0; lane /= 2) x += __shfl_xor_sync(0xFFFFFFFFU, x, lane);
  return x;
}

__device__ inline Mass block_total(Mass x, SamplerShared& shared) {
  x = warp_total(x);
  __syncthreads();
  if (threadIdx.x % 32 == 0) shared.mass[threadIdx.x / 32] = x;
  __syncthreads();
  Mass total = 0;
  for (int warp = 0; warp < kSamplerWarps; ++warp) total += shared.mass[warp];
  return total;
}

/// Sum of threads 0 to this one.
__device__ inline Mass block_scan(Mass x, SamplerShared& shared) {
  for (int lane = 1; lane < 32; lane *= 2) {
    const Mass other = __shfl_up_sync(0xFFFFFFFFU, x, lane);
    if (static_cast<int>(threadIdx.x % 32) >= lane) x += other;
  }
  __syncthreads();
  if (threadIdx.x % 32 == 31) shared.mass[threadIdx.x / 32] = x;
  __syncthreads();
  for (int warp = 0; warp < static_cast<int>(threadIdx.x / 32); ++warp) x += shared.mass[warp];
  return x;
}

/// In an order that depends on nothing but which thread has what.
__device__ inline double block_sum(double x, SamplerShared& shared) {
  for (int lane = 16; lane > 0; lane /= 2) x += __shfl_xor_sync(0xFFFFFFFFU, x, lane);
  __syncthreads();
  if (threadIdx.x % 32 == 0) shared.sum[threadIdx.x / 32] = x;
  __syncthreads();
  double total = 0.0;
  for (int warp = 0; warp < kSamplerWarps; ++warp) total += shared.sum[warp];
  return total;
}

struct Best {
  float value;
  std::int32_t token;  // -1: none above -infinity
};

__device__ inline bool before(const Best& a, const Best& b) {
  if (b.token < 0) return a.token >= 0;
  return a.token >= 0 && (a.value > b.value || (a.value == b.value && a.token < b.token));
}

/// Largest logit, lowest id where several tie; NaN does not count.
__device__ inline Best best_of(const float* logits, std::int32_t vocabulary,
                               SamplerShared& shared) {
  Best best{never(), -1};
  for (std::int32_t i = threadIdx.x; i < vocabulary; i += kSamplerThreads) {
    const float x = logits[i];
    if (x > best.value) best = {x, i};  // ids rise: the first of equals stays
  }
  for (int lane = 16; lane > 0; lane /= 2) {
    const Best other{__shfl_xor_sync(0xFFFFFFFFU, best.value, lane),
                     __shfl_xor_sync(0xFFFFFFFFU, best.token, lane)};
    if (before(other, best)) best = other;
  }
  __syncthreads();
  if (threadIdx.x % 32 == 0) {
    shared.value[threadIdx.x / 32] = best.value;
    shared.token[threadIdx.x / 32] = best.token;
  }
  __syncthreads();
  best = {shared.value[0], shared.token[0]};
  for (int warp = 1; warp < kSamplerWarps; ++warp) {
    const Best other{shared.value[warp], shared.token[warp]};
    if (before(other, best)) best = other;
  }
  return best;
}

/// A token's place in an order, and what it counts for there; mass 0: it is not there.
struct Item {
  std::uint32_t key;
  Mass mass;
};

struct Reached {
  bool found;
  std::uint32_t key;
  Mass above;  ///< of all greater keys
  Mass at;     ///< of this key
};

/// The greatest key such that the mass of all keys from it on reaches `wanted` (> 0); not found
/// where all together do not. `item_at(i)` for i in [0, count) is called three times each.
template <class ItemAt>
__device__ Reached reach(std::int32_t count, Mass wanted, const ItemAt& item_at,
                         SamplerShared& shared) {
  constexpr int kDigitBits[] = {11, 11, 10};
  Reached out{true, 0, 0, 0};
  int shift = 32;
  for (const int bits : kDigitBits) {
    const int before_shift = shift;
    shift -= bits;
    __syncthreads();
    for (int bin = threadIdx.x; bin < kBins; bin += kSamplerThreads) shared.bins[bin] = 0;
    if (threadIdx.x == 0) shared.found = -1;
    __syncthreads();
    for (std::int32_t i = threadIdx.x; i < count; i += kSamplerThreads) {
      const Item item = item_at(i);
      if (item.mass == 0) continue;
      if ((static_cast<std::uint64_t>(item.key ^ out.key) >> before_shift) != 0) continue;
      atomicAdd(&shared.bins[(item.key >> shift) & ((1U << bits) - 1U)], item.mass);
    }
    __syncthreads();
    // Two bins a thread, the greatest first.
    const int top = 2 * (kSamplerThreads - 1 - static_cast<int>(threadIdx.x)) + 1;
    const Mass upper = shared.bins[top];
    const Mass lower = shared.bins[top - 1];
    const Mass through = out.above + block_scan(upper + lower, shared);
    const Mass above = through - upper - lower;
    if (above < wanted && through >= wanted) {
      const bool in_upper = above + upper >= wanted;
      shared.found = in_upper ? top : top - 1;
      shared.above = in_upper ? above : above + upper;
      shared.at = in_upper ? upper : lower;
    }
    __syncthreads();
    if (shared.found < 0) return {false, 0, 0, 0};
    out.key |= static_cast<std::uint32_t>(shared.found) << shift;
    out.above = shared.above;
    out.at = shared.at;
  }
  return out;
}

/// Where the masses of ids [0, count) lie end to end, the id whose share holds `target`; -1 where
/// target is not below their sum.
template <class MassAt>
__device__ std::int32_t locate(std::int32_t count, Mass target, const MassAt& mass_at,
                               SamplerShared& shared) {
  const int warp = static_cast<int>(threadIdx.x / 32);
  std::int32_t begin = 0;
  std::int32_t end = count;
  while (end - begin > kSamplerThreads) {  // a run of ids for each warp; one of them is left
    const std::int32_t run = ((end - begin + kSamplerWarps - 1) / kSamplerWarps + 31) / 32 * 32;
    const std::int32_t last = min(begin + (warp + 1) * run, end);
    Mass mine = 0;
    for (std::int32_t i = begin + warp * run + static_cast<std::int32_t>(threadIdx.x % 32);
         i < last; i += 32)
      mine += mass_at(i);
    mine = warp_total(mine);
    __syncthreads();
    if (threadIdx.x % 32 == 0) shared.mass[warp] = mine;
    __syncthreads();
    int chosen = 0;
    while (chosen < kSamplerWarps - 1 && shared.mass[chosen] <= target)
      target -= shared.mass[chosen++];
    begin = min(begin + chosen * run, end);
    end = min(begin + run, end);
  }
  const std::int32_t id = begin + static_cast<std::int32_t>(threadIdx.x);
  const Mass mine = id < end ? mass_at(id) : 0;
  __syncthreads();
  if (threadIdx.x == 0) shared.found = -1;
  const Mass through = block_scan(mine, shared);
  if (target >= through - mine && target < through) shared.found = id;
  __syncthreads();
  return shared.found;
}

/// The tokens at the head of the order (value falling, id rising): all with a greater key, and of
/// those with this one the ids up to `last_id`.
struct Head {
  std::uint32_t key = 0;
  std::int32_t last_id = 0x7FFFFFFF;
  __device__ bool holds(std::uint32_t k, std::int32_t id) const {
    return k > key || (k == key && id <= last_id);
  }
};

/// The first `wanted` (> 0) tokens above -infinity; all where there are no more.
__device__ inline Head head_of_count(const float* values, std::int32_t vocabulary, Mass wanted,
                                     SamplerShared& shared) {
  const Reached reached = reach(
      vocabulary, wanted,
      [&](std::int32_t i) {
        return Item{key_of(values[i]), values[i] > never() ? Mass{1} : Mass{0}};
      },
      shared);
  Head out;
  if (!reached.found) return out;
  out.key = reached.key;
  const Mass ties = wanted - reached.above;
  if (ties < reached.at)
    out.last_id = locate(
        vocabulary, ties - 1,
        [&](std::int32_t i) -> Mass { return values[i] > never() && key_of(values[i]) == out.key; },
        shared);
  return out;
}

}  // namespace tenon::cuda
