// The producer of Hopper's context attention over a cache in 16 bits.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cuda/device/attention_hopper_block.cuh"

namespace tenon::cuda::attention_hopper {

/// Brings tiles of keys and values from the cache's blocks by bulk copies, to where the products
/// read them. One warp: each lane brings a box, which is the 128-byte wide part of one cache block.
template <class Cache, int kHeadDim>
__device__ void copy_tiles(const AttentionLaunch& l, const Work& w, const CUtensorMap& key_map,
                           const CUtensorMap& value_map, std::uint32_t shared,
                           const Barriers<Cache, kHeadDim>& barriers) {
  using L = Layout<Cache, kHeadDim>;
  const CacheLayer& layer = l.arguments.layer;
  const int lane = threadIdx.x % 32;
  const int blocks = L::kKeys / layer.block_tokens;  // of a tile
  const bool brings = lane < blocks * (kHeadDim / kColumn);
  const int column = lane / blocks;
  const int index = lane % blocks;
  const std::uint32_t to =
      shared + static_cast<std::uint32_t>(column * L::kColumnBytes +
                                          index * layer.block_tokens * kColumn * 2);
  for (std::int32_t tile = w.first_tile; tile < w.end_tile; ++tile) {
    const int turn = tile - w.first_tile;
    const int stage = turn % L::kStages;
    const auto parity = static_cast<std::uint32_t>(turn / L::kStages % 2) ^ 1U;
    const std::int32_t block = brings ? block_of<L::kKeys>(layer, w, tile, index) : -1;
    const int z = block < 0 ? -1 : block * layer.kv_heads + w.kv_head;  // -1: outside, so zeros
    wait_for(barriers.free_keys(stage), parity);
    if (lane == 0) arrive_expecting(barriers.full_keys(stage), L::kTileBytes);
    __syncwarp();
    if (brings)
      copy_box(to + L::kKeysAt + stage * L::kTileBytes, key_map, column * kColumn, 0, z,
               barriers.full_keys(stage));
    wait_for(barriers.free_values(stage), parity);
    if (lane == 0) arrive_expecting(barriers.full_values(stage), L::kTileBytes);
    __syncwarp();
    if (brings)
      copy_box(to + L::kValuesAt + stage * L::kTileBytes, value_map, column * kColumn, 0, z,
               barriers.full_values(stage));
  }
}

}  // namespace tenon::cuda::attention_hopper
