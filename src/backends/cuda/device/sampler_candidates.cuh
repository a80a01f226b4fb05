// The head of a row's order as a sorted list, a token a thread. Every thread knows the best of its
// own tokens; as many tokens as wanted are not below the best of that many threads, and only few
// others are. So one more look at the row finds them, and all that follows is done on the list.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cuda/device/sampler_row.cuh"

namespace tenon::cuda {

/// Tokens that are surely listed where no more than these are asked for, unless too many tie.
constexpr std::int32_t kSurelyListed = kSamplerThreads / 2;

/// A token in the order, as a number: the greater, the earlier; 0: none.
__device__ inline Mass entry_of(std::uint32_t key, std::int32_t id) {
  return (Mass{key} << 32) | ~static_cast<std::uint32_t>(id);
}
__device__ inline std::int32_t id_of(Mass entry) {
  return static_cast<std::int32_t>(~static_cast<std::uint32_t>(entry));
}
__device__ inline float value_of_entry(Mass entry) {
  return value_of(static_cast<std::uint32_t>(entry >> 32));
}

/// The greatest value of 20 leading bits that `rank` (<= kSamplerThreads) tokens reach, each the
/// best of a thread, given this thread's; the lowest of all finite ones where fewer have any.
__device__ inline float floor_of_rank(const Best& own, std::int32_t rank) {
  const std::uint32_t mine = own.token < 0 ? 0U : key_of(own.value);
  std::uint32_t found = 0;
  for (int bit = 31; bit >= 12; --bit) {
    const std::uint32_t next = found | (1U << bit);
    if (__syncthreads_count(mine >= next ? 1 : 0) >= rank) found = next;
  }
  return value_of(max(found, key_of(never()) + 1));
}

/// Gathers the row's tokens not below `floor` to `shared.entries`, in no order, and gives how many
/// there are: more than kSamplerThreads where not all could be kept. also(four) sees the values of
/// the threads that have such tokens, or of all where `of_all`.
template <int kAtOnce, class Also>
__device__ std::int32_t gather(const LogitRow& row, float floor, const Best& own, bool of_all,
                               const Also& also, SamplerShared& shared) {
  __syncthreads();
  if (threadIdx.x == 0) shared.found = 0;
  __syncthreads();
  bool room = true;
  const auto keep = [&](std::int32_t id, float x) {
    if (!(x >= floor) || !room) return;
    const std::int32_t at = atomicAdd(&shared.found, 1);
    room = at < kSamplerThreads;
    if (room) shared.entries[at] = entry_of(key_of(x), id);
  };
  const auto look = [&](std::int32_t id, float x) {
    also(make_float4(x, never(), never(), never()));
    keep(id, x);
  };
  if (of_all || (own.token >= 0 && own.value >= floor))
    visit_own_quads<kAtOnce>(row, look, [&](std::int32_t id, const float4& x) {
      also(x);
      if (fmaxf(fmaxf(x.x, x.y), fmaxf(x.z, x.w)) >= floor) each_of_quad(keep)(id, x);  // seldom
    });
  __syncthreads();
  return shared.found;
}

/// The threads' entries, the first `count` of which may be other than 0, the greatest first.
__device__ inline Mass sort_falling(Mass mine, std::int32_t count, SamplerShared& shared) {
  const auto thread = static_cast<std::int32_t>(threadIdx.x);
#pragma unroll 1
  for (std::int32_t run = 2; run / 2 < count; run *= 2)
#pragma unroll 1
    for (std::int32_t apart = run / 2; apart > 0; apart /= 2) {
      Mass other = 0;
      if (apart < 32) {
        other = __shfl_xor_sync(kAllLanes, mine, apart);
      } else {
        __syncthreads();
        shared.entries[thread] = mine;
        __syncthreads();
        other = shared.entries[thread ^ apart];
      }
      const bool keeps_greater = ((thread & apart) == 0) == ((thread & run) == 0);
      if ((mine > other) != keeps_greater) mine = other;
    }
  return mine;
}

/// This thread's of the gathered entries, sorted.
__device__ inline Mass sorted_entry(std::int32_t count, SamplerShared& shared) {
  const Mass mine =
      static_cast<std::int32_t>(threadIdx.x) < count ? shared.entries[threadIdx.x] : 0;
  return sort_falling(mine, count, shared);
}

}  // namespace tenon::cuda
