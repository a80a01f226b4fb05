// The value on which a rank or a mass falls, of a row however many tokens tie or matter: nothing is
// sorted, the value is found digit by digit, first by how far tokens are behind the best, then by
// the bits of their keys.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cuda/device/sampler_row.cuh"

namespace tenon::cuda {

struct Reached {
  bool found;
  std::uint32_t key;
  Mass above;  ///< of all greater keys
  Mass at;     ///< of this key
};

/// Adds to a bin, in halves: the device adds 32 bits to shared memory at once, 64 in a loop that
/// begins anew wherever another thread was faster.
__device__ inline void add_to_bin(Mass& bin, Mass mass) {
  auto* const halves = reinterpret_cast<std::uint32_t*>(&bin);
  const auto low = static_cast<std::uint32_t>(mass);
  const std::uint32_t carry = atomicAdd(&halves[0], low) + low < low ? 1 : 0;
  const std::uint32_t high = static_cast<std::uint32_t>(mass >> 32) + carry;
  if (high != 0) atomicAdd(&halves[1], high);
}

/// The bin of masses, greatest first, in which those through it reach `wanted`, and what lies
/// `above` it, which is added to; -1 where they do not. Masses of the bins are in `shared`.
__device__ inline std::int32_t reach_bin(Mass wanted, Mass& above, Mass& at,
                                         SamplerShared& shared) {
  // Two bins a thread.
  const int top = 2 * (kSamplerThreads - 1 - static_cast<int>(threadIdx.x)) + 1;
  const Mass upper = shared.bins[top];
  const Mass lower = shared.bins[top - 1];
  const Mass through = above + block_scan(upper + lower, shared);
  const Mass before_both = through - upper - lower;
  if (before_both < wanted && through >= wanted) {
    const bool in_upper = before_both + upper >= wanted;
    shared.found = in_upper ? top : top - 1;
    shared.above = in_upper ? before_both : before_both + upper;
    shared.at = in_upper ? upper : lower;
  }
  __syncthreads();
  if (shared.found >= 0) {
    above = shared.above;
    at = shared.at;
  }
  return shared.found;
}

/// The greatest key such that the mass of all keys from it on reaches `wanted` (> 0); not found
/// where all together do not. An Order has, of a value: key(x); behind(x), which never falls from a
/// key to a lesser one; and mass(id, x), 0 where the token does not count, never() never does.
template <class Order>
__device__ Reached reach(const LogitRow& row, Mass wanted, const Order& order,
                         SamplerShared& shared) {
  constexpr float kBinsOfOne = 64.F;  // 32 as far as masses reach, in as many bins as there are
  const auto coarse_bin = [&](float x) {
    return kBins - 1 - static_cast<std::int32_t>(fminf(order.behind(x) * kBinsOfOne, kBins - 1.F));
  };
  Reached out{true, 0, 0, 0};
  std::int32_t coarse = -1;  // the bin by distance; then digits of 11, 11 and 10 bits
#pragma unroll 1
  for (int digit = 0; digit <= 3; ++digit) {
    const int before_shift = digit <= 1 ? 32 : 43 - 11 * digit;
    const int shift = digit == 0 ? 32 : max(32 - 11 * digit, 0);
    const std::uint32_t digits = (1U << (before_shift - shift)) - 1U;
    __syncthreads();
    for (int bin = threadIdx.x; bin < kBins; bin += kSamplerThreads) shared.bins[bin] = 0;
    if (threadIdx.x == 0) shared.found = -1;
    __syncthreads();
    visit_own<2>(row, [&](std::int32_t id, float x) {
      if (!(x > never())) return;
      std::int32_t bin = coarse_bin(x);
      if (digit > 0) {
        const std::uint32_t key = order.key(x);
        if (bin != coarse || (static_cast<std::uint64_t>(key ^ out.key) >> before_shift) != 0)
          return;
        bin = static_cast<std::int32_t>((key >> shift) & digits);
      }
      const Mass mass = order.mass(id, x);
      if (mass > 0) add_to_bin(shared.bins[bin], mass);
    });
    __syncthreads();
    const std::int32_t found = reach_bin(wanted, out.above, out.at, shared);
    if (found < 0) return {false, 0, 0, 0};
    if (digit == 0)
      coarse = found;
    else
      out.key |= static_cast<std::uint32_t>(found) << shift;
  }
  return out;
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

/// Of the ids that `holds(id, x)` is true of, the one of rank `rank`.
template <class Holds>
__device__ std::int32_t id_of_rank(const LogitRow& row, Mass rank, const Holds& holds,
                                   SamplerShared& shared) {
  const auto counted = [&](std::int32_t id, float x) -> Mass {
    return x > never() && holds(id, x) ? 1 : 0;
  };
  sum_runs(row, counted, shared);
  return locate(row, rank, counted, shared);
}

/// The first `wanted` (> 0) tokens above -infinity; all where there are no more.
__device__ inline Head head_of_count(const LogitRow& row, float largest, Mass wanted,
                                     SamplerShared& shared) {
  struct ByValue {
    float largest;
    __device__ float behind(float x) const { return largest - x; }
    __device__ std::uint32_t key(float x) const { return key_of(x); }
    __device__ Mass mass(std::int32_t, float) const { return 1; }
  };
  const Reached reached = reach(row, wanted, ByValue{largest}, shared);
  Head out;
  if (!reached.found) return out;
  out.key = reached.key;
  const Mass ties = wanted - reached.above;
  if (ties < reached.at)
    out.last_id = id_of_rank(
        row, ties - 1, [&](std::int32_t, float x) { return key_of(x) == out.key; }, shared);
  return out;
}

}  // namespace tenon::cuda
