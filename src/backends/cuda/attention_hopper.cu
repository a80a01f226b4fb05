// Attention of context chunks over the paged cache with Hopper's warpgroup products: over 16 bits.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/device/attention_hopper_kernel.cuh"
#include "core/dtype.h"

namespace tenon::cuda {

std::int64_t hopper_tile_keys(DataType cache, std::int64_t head_dim) {
  if (head_dim == 64) return attention_hopper::kTileKeys<64>;
  if (head_dim == 128) return attention_hopper::kTileKeys<128>;
  return head_dim == 256 && size_of(cache) == 2 ? attention_hopper::kTileKeys<256> : 0;
}

void launch_attention_hopper(const AttentionLaunch& l) {
  if (l.sequences <= l.first_sequence || l.longest_chunk < l.fewest_tokens) return;
  if (size_of(l.arguments.layer.dtype) == 1)
    launch_attention_hopper_codes(l);
  else if (l.arguments.layer.dtype == DataType::kFloat16)
    attention_hopper::run<__half>(l);
  else
    attention_hopper::run<__nv_bfloat16>(l);
}

}  // namespace tenon::cuda
