// Hopper's context attention as a whole, over one kind of cache.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cuda/attention_cache_map.h"
#include "backends/cuda/cuda_api.h"
#include "backends/cuda/device/attention_hopper_consumer.cuh"
#include "backends/cuda/device/attention_hopper_copy.cuh"
#include "backends/cuda/device/attention_hopper_widen.cuh"

namespace tenon::cuda::attention_hopper {

/// kExtras: scores are more than scaled products.
template <class Cache, int kHeadDim, bool kExtras>
__global__ void __launch_bounds__(kThreads, 1)
    hopper_kernel(const __grid_constant__ AttentionLaunch l,
                  const __grid_constant__ CUtensorMap key_map,
                  const __grid_constant__ CUtensorMap value_map) {
  using L = Layout<Cache, kHeadDim>;
  extern __shared__ char memory[];
  if (threadIdx.x == 0) {
    prefetch_map(key_map);
    prefetch_map(value_map);
  }
  const Work w = find_work<L::kKeys>(l);
  if (!w.valid) return;
  const std::uint32_t shared = (shared_address(memory) + 1023U) & ~1023U;
  char* const data = memory + (shared - shared_address(memory));
  auto* const scales = reinterpret_cast<float*>(data + L::kScalesAt);
  const Barriers<Cache, kHeadDim> barriers{shared + L::kBarriers};
  if (threadIdx.x == 0) barriers.init();
  __syncthreads();
  const int warpgroup = __shfl_sync(0xFFFFFFFFU, static_cast<int>(threadIdx.x) / 128, 0);
  if (warpgroup == 0) {
    give_registers<Kind<Cache>::kProducerRegisters>();
    if constexpr (L::kCodes)
      WideningProducer<Cache, kHeadDim>{l, w, key_map, value_map, shared, scales, barriers}.run();
    else if (threadIdx.x < 32)
      copy_tiles<Cache, kHeadDim>(l, w, key_map, value_map, shared, barriers);
  } else {
    take_registers<Kind<Cache>::kConsumerRegisters>();
    const int group = warpgroup - 1;
    const int thread = static_cast<int>(threadIdx.x) % 128;
    const int lane = thread % 32;
    const std::int32_t first = w.first_row + group * 64 + thread / 32 * 16 + lane / 4;
    Consumer<Cache, kHeadDim, kExtras> consumer{l,
                                                w,
                                                shared,
                                                scales,
                                                reinterpret_cast<float*>(data + L::kUnitsAt),
                                                group,
                                                thread,
                                                lane,
                                                shared + L::kQueries + group * (64 * kHeadDim * 2)};
    consumer.row[0] = query_row(l.arguments, first, w.tokens, w.cached, w.kv_head);
    consumer.row[1] = query_row(l.arguments, first + 8, w.tokens, w.cached, w.kv_head);
    consumer.run(barriers);
  }
}

template <class Cache, int kHeadDim, bool kExtras>
void run(const AttentionLaunch& l) {
  const std::int32_t group = l.arguments.heads / l.arguments.kv_heads;
  const dim3 grid(static_cast<unsigned>(l.arguments.kv_heads),
                  static_cast<unsigned>((l.longest_chunk * group + kRows - 1) / kRows),
                  static_cast<unsigned>(l.sequences - l.first_sequence));
  const auto kernel = hopper_kernel<Cache, kHeadDim, kExtras>;
  constexpr int kBytes = Layout<Cache, kHeadDim>::kBytes;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes),
        "shared memory of attention");
  const CacheLayer& layer = l.arguments.layer;
  kernel<<<grid, kThreads, kBytes, l.stream>>>(l, map_of_cache(layer, layer.keys),
                                               map_of_cache(layer, layer.values));
  check_launch("attention of context");
}

template <class Cache, int kHeadDim>
void run(const AttentionLaunch& l) {
  if (has_score_extras(l.arguments) || !(l.arguments.scale > 0.F))
    run<Cache, kHeadDim, true>(l);
  else
    run<Cache, kHeadDim, false>(l);
}

template <class Cache>
void run(const AttentionLaunch& l) {
  if constexpr (!Kind<Cache>::kCodes)
    if (l.arguments.head_dim == 256) return run<Cache, 256>(l);
  l.arguments.head_dim == 64 ? run<Cache, 64>(l) : run<Cache, 128>(l);
}

}  // namespace tenon::cuda::attention_hopper
