// What a thread block of Hopper's context attention has: its part of the step, its shared memory
// and the barriers in it. 128 rows of queries, three warpgroups: one brings tiles of keys and
// values, two multiply them with 64 rows each.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <type_traits>

#include "backends/cuda/attention_launch.h"
#include "backends/cuda/device/attention_codes.cuh"
#include "backends/cuda/device/attention_rows.cuh"
#include "backends/cuda/device/attention_wgmma.cuh"

namespace tenon::cuda::attention_hopper {

inline constexpr int kRows = 128;
inline constexpr int kThreads = 384;
inline constexpr int kColumn = 64;       // elements of a row of 128 bytes
inline constexpr int kTurnBarrier = 1;   // and the next: whose turn it is to issue products
inline constexpr int kGroupBarrier = 3;  // and the next: of one warpgroup
inline constexpr int kConsumerWarps = 8;
inline constexpr int kProducerWarps = 4;

/// What the cache holds: `Row`, the type of queries and outputs in its type or over codes;
/// `Product`, the operands; kRanged: queries are brought into Product's range by a power of two a
/// row.
template <class Cache>
struct Kind {  // 16 bits: the products read what was copied
  using Row = Cache;
  using Product = Cache;
  static constexpr bool kCodes = false;
  static constexpr bool kScaled = false;
  static constexpr bool kRanged = false;
  static constexpr int kProducerRegisters = 24;
  static constexpr int kConsumerRegisters = 240;
};
struct CodeKind {
  using Row = __nv_bfloat16;
  static constexpr bool kCodes = true;
  static constexpr int kProducerRegisters = 56;
  static constexpr int kConsumerRegisters = 224;
};
template <>
struct Kind<Float8Code> : CodeKind {  // to float16 in half an instruction a code
  using Product = __half;
  static constexpr bool kScaled = false;
  static constexpr bool kRanged = true;
};
template <>
struct Kind<Int8Code> : CodeKind {  // bfloat16, since weights are scaled by any float
  using Product = __nv_bfloat16;
  static constexpr bool kScaled = true;
  static constexpr bool kRanged = false;
};

/// Keys of a tile. Of 256, the queries and two tiles of keys and values fill shared memory, and the
/// sums half of a thread's registers: half as many keys halve the tiles and the scores.
template <int kHeadDim>
inline constexpr int kTileKeys = kHeadDim == 256 ? 64 : 128;

/// Shared memory in bytes, from a multiple of 1024 on.
template <class Cache, int kHeadDim>
struct Layout {
  static constexpr bool kCodes = Kind<Cache>::kCodes;
  static constexpr int kStages = kHeadDim == 64 ? 4 : 2;
  static constexpr int kKeys = kTileKeys<kHeadDim>;
  static constexpr int kTileBytes = kKeys * kHeadDim * 2;   // of keys; as many of values
  static constexpr int kColumnBytes = kKeys * kColumn * 2;  // of one of its columns
  static constexpr int kCodeTiles = kCodes ? 3 : 0;         // keys and values in turn
  static constexpr int kCodeBytes = kKeys * kHeadDim;
  // Scales of a tile are read until its weights are rounded, when its keys are long free.
  static constexpr int kScaleTiles = Kind<Cache>::kScaled ? 2 * kStages : 0;
  static constexpr int kScaleBytes = 2 * kKeys * 4;  // of keys, then of values

  static constexpr int kQueries = 0;
  static constexpr int kKeysAt = kQueries + kRows * kHeadDim * 2;
  static constexpr int kValuesAt = kKeysAt + kStages * kTileBytes;
  static constexpr int kCodesAt = kValuesAt + kStages * kTileBytes;
  static constexpr int kScalesAt = kCodesAt + kCodeTiles * kCodeBytes;
  static constexpr int kUnitsAt = kScalesAt + kScaleTiles * kScaleBytes;  // a float a row
  static constexpr int kBarriers = kUnitsAt + (Kind<Cache>::kRanged ? kRows * 4 : 0);
  static constexpr int kBarrierCount = 4 * kStages + 2 * kCodeTiles;
  static constexpr int kBytes = kBarriers + kBarrierCount * 8 + 1024;
  static_assert(kBytes <= 227 * 1024);
};

/// By stage of the 16-bit tiles; of codes, by place in their ring.
template <class Cache, int kHeadDim>
struct Barriers {
  using L = Layout<Cache, kHeadDim>;
  std::uint32_t first;
  __device__ std::uint32_t full_keys(int stage) const { return first + 8 * stage; }
  __device__ std::uint32_t full_values(int stage) const { return full_keys(L::kStages + stage); }
  __device__ std::uint32_t free_keys(int stage) const { return full_keys(2 * L::kStages + stage); }
  __device__ std::uint32_t free_values(int stage) const {
    return full_keys(3 * L::kStages + stage);
  }
  __device__ std::uint32_t full_codes(int place) const { return full_keys(4 * L::kStages + place); }
  __device__ std::uint32_t free_codes(int place) const { return full_codes(L::kCodeTiles + place); }

  __device__ void init() const {
    for (int stage = 0; stage < L::kStages; ++stage) {
      init_barrier(full_keys(stage), L::kCodes ? kProducerWarps : 1);
      init_barrier(full_values(stage), L::kCodes ? kProducerWarps : 1);
      init_barrier(free_keys(stage), kConsumerWarps);
      init_barrier(free_values(stage), kConsumerWarps);
    }
    for (int place = 0; place < L::kCodeTiles; ++place) {
      init_barrier(full_codes(place), 1);
      init_barrier(free_codes(place), kProducerWarps);
    }
    publish_barriers();
  }
};

/// Which tile of rows of which sequence a block has.
struct Work {
  std::int32_t first_token, tokens, cached, slot, kv_head;
  std::int32_t rows, first_row;
  std::int32_t begin, end;  // places of the keys that any of the rows sees
  std::int32_t first_tile, end_tile;
  bool valid;
};

/// Of tiles of kKeys keys.
template <int kKeys>
__device__ Work find_work(const AttentionLaunch& l) {
  const AttentionArguments& a = l.arguments;
  Work w;
  const auto s = static_cast<std::int32_t>(l.first_sequence + blockIdx.z);
  w.first_token = l.view.token_begin[s];
  w.tokens = l.view.token_begin[s + 1] - w.first_token;
  w.kv_head = static_cast<std::int32_t>(blockIdx.x);
  w.rows = w.tokens * (a.heads / a.kv_heads);
  const std::int32_t tiles = (w.rows + kRows - 1) / kRows;
  w.valid = w.tokens >= l.fewest_tokens && static_cast<std::int32_t>(blockIdx.y) < tiles;
  if (!w.valid) return w;
  w.first_row = (tiles - 1 - static_cast<std::int32_t>(blockIdx.y)) * kRows;  // longest first
  w.cached = l.view.cached_tokens[s];
  w.slot = l.view.slots[s];
  w.begin = query_row(a, w.first_row, w.tokens, w.cached, w.kv_head).begin;
  w.end = query_row(a, min(w.first_row + kRows, w.rows) - 1, w.tokens, w.cached, w.kv_head).end;
  w.first_tile = w.begin / kKeys;
  w.end_tile = (w.end + kKeys - 1) / kKeys;
  return w;
}

/// The cache's block of a tile that holds its tokens from `index` times block_tokens on; -1 where
/// no row sees any of them.
template <int kKeys>
__device__ std::int32_t block_of(const CacheLayer& layer, const Work& w, std::int32_t tile,
                                 std::int32_t index) {
  const std::int32_t at = tile * (kKeys / layer.block_tokens) + index;
  const std::int32_t first = at * layer.block_tokens;
  if (first >= w.end || first + layer.block_tokens <= w.begin) return -1;
  return layer.tables[static_cast<std::int64_t>(w.slot) * layer.table_stride + at];
}

}  // namespace tenon::cuda::attention_hopper
