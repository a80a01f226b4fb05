// What the fast kernels of attention over the paged cache have in common. Each step's sequences are
// split between two kernels by their tokens in the step: one (a decode) or more (context). Which of
// them serves a row therefore depends on its own sequence alone.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime_api.h>

#include <string>

#include "backends/cuda/device/key_rows.h"

namespace tenon::cuda {

struct AttentionLaunch {
  AttentionArguments arguments;  ///< with its layer
  StepView view;
  const void* q = nullptr;  ///< [T, heads * head_dim] of the cache's type; over 8 bits, bfloat16
  void* out = nullptr;      ///< likewise, of out_type
  DataType out_type = DataType::kFloat32;
  std::int32_t sequences = 0;  ///< of the launch
  /// Context alone: sequences before this one, and those with fewer tokens, are not served.
  std::int32_t first_sequence = 0;
  std::int32_t fewest_tokens = 1;
  std::int32_t longest_chunk = 0;  ///< tokens of one sequence, at most
  std::int32_t multiprocessors = 0;
  std::byte* workspace = nullptr;
  std::uint32_t* arrivals = nullptr;  ///< [kMostDecodeBlocks], zero between launches
  bool early = false;                 ///< decodes: starts while the launch before it still runs
  cudaStream_t stream = nullptr;
};

/// Head sizes of the tensor-core kernels.
constexpr bool is_fast_head_dim(std::int64_t head_dim) {
  return head_dim == 64 || head_dim == 80 || head_dim == 96 || head_dim == 128 || head_dim == 256;
}

// Sequences with one token: attention_decode.cu.
inline constexpr std::int64_t kMostDecodeBlocks = 320;
std::int64_t decode_workspace(std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim);
/// Of a block, for the most sequences that one launch has.
std::int64_t decode_shared_bytes(DataType cache, std::int64_t heads, std::int64_t kv_heads,
                                 std::int64_t head_dim);
void launch_attention_decode(const AttentionLaunch& launch);

// Context: attention_prefill.cu (any device of compute capability 8.0), attention_hopper.cu.
void launch_attention_prefill(const AttentionLaunch& launch);
/// Keys of a tile, of which the cache's blocks are whole parts; 0: launch_attention_hopper() does
/// not serve such heads over a cache of this type.
std::int64_t hopper_tile_keys(DataType cache, std::int64_t head_dim);
void launch_attention_hopper(const AttentionLaunch& launch);
/// The part of launch_attention_hopper() over a cache in 8 bits.
void launch_attention_hopper_codes(const AttentionLaunch& launch);

}  // namespace tenon::cuda
