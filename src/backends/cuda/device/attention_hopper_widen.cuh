// The producer of Hopper's context attention over a cache in 8 bits: its first warp brings tiles of
// codes by bulk copies, all four widen them to where the products read them. No code is rounded;
// scales of int8 go beside the tiles, for scores and weights.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cuda/device/attention_hopper_block.cuh"

namespace tenon::cuda::attention_hopper {

/// Eight codes to operands, each times `kUnit`, which the scales make up for.
template <class Code>
struct Widen;

template <>
struct Widen<Float8Code> {
  static constexpr float kUnit = 1.F;
  __device__ static uint4 run(uint2 codes) {
    std::uint32_t low[2];
    std::uint32_t high[2];
    widen_codes<Float8Code, __half, CodeOrder::kRow>(codes.x, low);
    widen_codes<Float8Code, __half, CodeOrder::kRow>(codes.y, high);
    return make_uint4(low[0], low[1], high[0], high[1]);
  }
};

template <>
struct Widen<Int8Code> {
  static constexpr float kUnit = 1.F / 128;
  __device__ static uint4 run(uint2 codes) {
    const std::uint32_t low = codes.x ^ 0x80808080U;  // plus 128
    const std::uint32_t high = codes.y ^ 0x80808080U;
    return make_uint4(pair(__byte_perm(low, 0U, 0x4140)), pair(__byte_perm(low, 0U, 0x4342)),
                      pair(__byte_perm(high, 0U, 0x4140)), pair(__byte_perm(high, 0U, 0x4342)));
  }

 private:
  // The bits of an integer up to 255 are, as bfloat16, that integer times 2^-133 (below 128 a
  // subnormal number). Times 2^126, less 1: a product and sum that need no rounding.
  __device__ static std::uint32_t pair(std::uint32_t bits) {
    constexpr std::uint32_t kFactor = 0x7E807E80U;
    constexpr std::uint32_t kOne = 0xBF80BF80U;  // -1
    const __nv_bfloat162 out = __hfma2(reinterpret_cast<const __nv_bfloat162&>(bits),
                                       reinterpret_cast<const __nv_bfloat162&>(kFactor),
                                       reinterpret_cast<const __nv_bfloat162&>(kOne));
    return reinterpret_cast<const std::uint32_t&>(out);
  }
};

/// One warpgroup. Tiles of keys and values take turns in a ring of three places, of which two are
/// on their way while one is widened.
template <class Code, int kHeadDim>
struct WideningProducer {
  using L = Layout<Code, kHeadDim>;
  static constexpr int kKeys = L::kKeys;
  static constexpr int kPieces = kHeadDim / 8;  // of 8 codes in a row
  static constexpr int kRowsAtOnce = 32 * kProducerWarps / kPieces;
  static constexpr int kPasses = kKeys / kRowsAtOnce;
  static constexpr int kBatch = 4;  // passes whose codes are loaded together
  static_assert(kRowsAtOnce % 8 == 0 && kPasses % kBatch == 0);

  enum class Half : std::uint8_t { kKeyCodes, kValueCodes };
  struct Ring {
    int place = 0;
    std::uint32_t parity = 0;
    __device__ void advance() {
      if (++place < L::kCodeTiles) return;
      place = 0;
      parity ^= 1U;
    }
  };

  const AttentionLaunch& l;
  const Work& w;
  const CUtensorMap& key_map;
  const CUtensorMap& value_map;
  std::uint32_t shared;
  float* scales;  // kScaleTiles of them
  Barriers<Code, kHeadDim> barriers;
  Ring copied;
  Ring widened;
  std::int32_t block = -1;       // the lane's, of the tile that is on its way
  std::int32_t next_block = -1;  // of the tile after it
  float key_scale = 0.F;         // the thread's, of the tile to be widened next
  float value_scale = 0.F;

  __device__ void run() {
    const int turns = w.end_tile - w.first_tile;
    if (threadIdx.x < 32) {
      next_block = find_block(0);
      copy<Half::kKeyCodes>(0);
      copy<Half::kValueCodes>(0);
    }
    load_scales(0);
    for (int turn = 0; turn < turns; ++turn) {
      const int stage = turn % L::kStages;
      const auto parity = static_cast<std::uint32_t>(turn / L::kStages % 2) ^ 1U;
      const bool more = turn + 1 < turns;
      if (more && threadIdx.x < 32) copy<Half::kKeyCodes>(turn + 1);
      wait_for(barriers.free_keys(stage), parity);
      store_scales(turn);
      if (more) load_scales(turn + 1);
      widen(shared + L::kKeysAt + stage * L::kTileBytes, barriers.full_keys(stage));
      if (more && threadIdx.x < 32) copy<Half::kValueCodes>(turn + 1);
      wait_for(barriers.free_values(stage), parity);
      widen(shared + L::kValuesAt + stage * L::kTileBytes, barriers.full_values(stage));
    }
  }

 private:
  __device__ std::int32_t find_block(int turn) const {
    const int lane = threadIdx.x % 32;
    const CacheLayer& layer = l.arguments.layer;
    if (lane >= kKeys / layer.block_tokens || w.first_tile + turn >= w.end_tile) return -1;
    return block_of<kKeys>(layer, w, w.first_tile + turn, lane);
  }

  /// The first warp: each lane brings a cache block's rows, once those that lay there are widened.
  /// Keys come before the values of the same turn.
  template <Half kHalf>
  __device__ void copy(int turn) {
    const CacheLayer& layer = l.arguments.layer;
    const int lane = threadIdx.x;
    const std::uint32_t full = barriers.full_codes(copied.place);
    if constexpr (kHalf == Half::kKeyCodes) {
      block = next_block;
      next_block = find_block(turn + 1);
    }
    wait_for(barriers.free_codes(copied.place), copied.parity ^ 1U);
    if (lane == 0) arrive_expecting(full, L::kCodeBytes);
    __syncwarp();
    if (lane < kKeys / layer.block_tokens)
      copy_box(shared + L::kCodesAt + copied.place * L::kCodeBytes +
                   static_cast<std::uint32_t>(lane * layer.block_tokens * kHeadDim),
               kHalf == Half::kKeyCodes ? key_map : value_map, 0, 0,
               block < 0 ? -1 : block * layer.kv_heads + w.kv_head, full);
    copied.advance();
  }

  /// Of one token a thread; 0 where no row sees it.
  __device__ void load_scales(int turn) {
    if constexpr (Kind<Code>::kScaled) {
      const CacheLayer& layer = l.arguments.layer;
      const auto place = (w.first_tile + turn) * kKeys + static_cast<std::int32_t>(threadIdx.x);
      key_scale = value_scale = 0.F;
      if (place < w.begin || place >= w.end) return;
      const std::int64_t row = cache_row(layer, w.slot, place, w.kv_head);
      key_scale = layer.key_scales[row] * (1.F / Widen<Code>::kUnit);
      value_scale = layer.value_scales[row] * (1.F / Widen<Code>::kUnit);
    }
  }
  __device__ void store_scales(int turn) const {
    if constexpr (Kind<Code>::kScaled) {
      float* const to = scales + turn % L::kScaleTiles * (2 * kKeys) + threadIdx.x;
      to[0] = key_scale;
      to[kKeys] = value_scale;
    }
  }

  /// The next tile of codes. A thread has the same piece of every kRowsAtOnce-th row, hence the
  /// same place among the eight that swizzling permutes.
  __device__ void widen(std::uint32_t tile, std::uint32_t full) {
    const int row = static_cast<int>(threadIdx.x) / kPieces;
    const int piece = static_cast<int>(threadIdx.x) % kPieces;
    const std::uint32_t from = shared + L::kCodesAt + widened.place * L::kCodeBytes +
                               static_cast<std::uint32_t>(threadIdx.x) * 8;
    const std::uint32_t to =
        tile + piece / 8 * L::kColumnBytes + row * 128 + ((piece ^ row) & 7) * 16;
    wait_for(barriers.full_codes(widened.place), widened.parity);
    uint2 next[kBatch];
    load_codes(from, 0, next);
#pragma unroll
    for (int pass = 0; pass < kPasses; pass += kBatch) {
      uint2 codes[kBatch];
#pragma unroll
      for (int i = 0; i < kBatch; ++i) codes[i] = next[i];
      if (pass + kBatch < kPasses) load_codes(from, pass + kBatch, next);
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        const uint4 wide = Widen<Code>::run(codes[i]);
        asm volatile(
            "st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to + (pass + i) * kRowsAtOnce * 128),
            "r"(wide.x), "r"(wide.y), "r"(wide.z), "r"(wide.w)
            : "memory");
      }
    }
    fence_shared_writes();
    __syncwarp();
    if (threadIdx.x % 32 == 0) {
      arrive(barriers.free_codes(widened.place));
      arrive(full);
    }
    widened.advance();
  }
  __device__ static void load_codes(std::uint32_t from, int pass, uint2 (&codes)[kBatch]) {
#pragma unroll
    for (int i = 0; i < kBatch; ++i)
      asm volatile("ld.shared.v2.b32 {%0, %1}, [%2];"
                   : "=r"(codes[i].x), "=r"(codes[i].y)
                   : "r"(from + (pass + i) * kRowsAtOnce * kHeadDim)
                   : "memory");
  }
};

}  // namespace tenon::cuda::attention_hopper
