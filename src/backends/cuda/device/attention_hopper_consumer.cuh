// The consumers of Hopper's context attention: a warpgroup multiplies its 64 rows with tile after
// tile. While its softmax runs, its own product with the values before and the other warpgroup's
// products run: they take turns in issuing them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cuda/device/attention_hopper_block.cuh"

namespace tenon::cuda::attention_hopper {

template <class Cache, int kHeadDim, bool kExtras>
struct Consumer {
  using L = Layout<Cache, kHeadDim>;
  using Row = typename Kind<Cache>::Row;
  using T = typename Kind<Cache>::Product;
  static constexpr bool kScaled = Kind<Cache>::kScaled;
  static constexpr bool kRanged = Kind<Cache>::kRanged;
  static constexpr DataType kRowType =
      std::is_same_v<Row, __half> ? DataType::kFloat16 : DataType::kBFloat16;
  static constexpr int kKeys = L::kKeys;
  static constexpr int kColumnBytes = L::kColumnBytes;
  static constexpr int kSums = kHeadDim / 2;  // registers of the output rows
  static constexpr int kScores = kKeys / 2;   // registers of their scores

  const AttentionLaunch& l;
  const Work& w;
  const std::uint32_t shared;
  const float* const scales;  // of keys, then of values, a tile after the other
  float* const units;         // of the block's rows: what their products are multiplied with
  int group;                  // warpgroup: 0 or 1
  int thread;                 // of the warpgroup
  int lane;
  std::uint32_t queries;  // this warpgroup's 64 rows
  QueryRow row[2];
  float sums[kSums];
  float scores[kScores];
  std::uint32_t weights[kKeys / 16][4];
  float largest[2];  // in units of products, where they are scaled with `unit` below
  float total[2];
  float unit[2];

  /// Copies 64 rows in the swizzled form.
  __device__ void load_queries() {
    const std::int32_t heads = l.arguments.heads;
    const std::int32_t per_key = heads / l.arguments.kv_heads;
    for (int i = thread; i < 64 * kHeadDim / 8; i += 128) {
      const int r = i / (kHeadDim / 8);
      const int piece = i % (kHeadDim / 8);
      const std::int32_t index = w.first_row + group * 64 + r;
      const std::int32_t token = index / per_key;
      uint4 value = make_uint4(0, 0, 0, 0);
      if (index < w.rows) {
        const std::int64_t head = static_cast<std::int64_t>(w.first_token + token) * heads +
                                  w.kv_head * per_key + (index - token * per_key);
        value = *reinterpret_cast<const uint4*>(static_cast<const Row*>(l.q) + head * kHeadDim +
                                                piece * 8);
      }
      if constexpr (kRanged) {
        const float back = bring_into_range(value);
        if (piece == 0) units[group * 64 + r] = back;
      }
      const std::uint32_t to = queries + piece / 8 * (64 * 128) + r * 128 + ((piece ^ r) & 7) * 16;
      asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(value.x), "r"(value.y),
                   "r"(value.z), "r"(value.w)
                   : "memory");
    }
    fence_shared_writes();
    sync_warps(kGroupBarrier + group, 128);
  }

  /// Eight elements of a row, whose others neighbouring lanes have, to float16; gives what undoes
  /// the factor.
  __device__ static float bring_into_range(uint4& value) {
    std::uint32_t* const pairs = &value.x;
    __nv_bfloat162 most = __float2bfloat162_rn(0.F);
#pragma unroll
    for (int i = 0; i < 4; ++i)
      most = __hmax2(most, __habs2(reinterpret_cast<const __nv_bfloat162&>(pairs[i])));
    float largest = fmaxf(__low2float(most), __high2float(most));
#pragma unroll
    for (int step = kHeadDim / 16; step > 0; step /= 2)
      largest = fmaxf(largest, __shfl_xor_sync(0xFFFFFFFFU, largest, step));
    const HalfRange range(largest);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float2 both = __bfloat1622float2(reinterpret_cast<const __nv_bfloat162&>(pairs[i]));
      pairs[i] = pack<__half>(both.x * range.factor, both.y * range.factor);
    }
    return range.unit;
  }

  /// Called once the queries are there.
  __device__ void set_units() {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      unit[half] = 1.F;
      if constexpr (kRanged)
        unit[half] = units[group * 64 + thread / 32 * 16 + half * 8 + lane / 4];
      if constexpr (!kExtras) unit[half] *= l.arguments.scale * kLog2E;
    }
  }

  __device__ void queue_scores(std::uint32_t keys) {
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; ++k)
      multiply_scores<T>(scores, operand(queries + k / 4 * (64 * 128) + k % 4 * 32, 0),
                         operand(keys + k / 4 * kColumnBytes + k % 4 * 32, 0), k > 0);
    commit_products();
  }
  __device__ void queue_values(std::uint32_t values, bool adds) {
#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k)
      multiply_values<T>(sums, weights[k], operand(values + k * 16 * 128, kColumnBytes),
                         adds || k > 0);
    commit_products();
  }

  __device__ void scale_columns(const float* from) {
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n) {
      const float2 two = *reinterpret_cast<const float2*>(from + n * 8 + lane % 4 * 2);
#pragma unroll
      for (int i = 0; i < 4; ++i) scores[4 * n + i] *= i % 2 == 0 ? two.x : two.y;
    }
  }
  __device__ const float* tile_scales(int turn) const {
    return scales + turn % L::kScaleTiles * (2 * kKeys);
  }

  /// Scores of a tile to weights that are not yet rounded; gives what the sums must shrink by.
  __device__ void soften(int turn, float (&shrink)[2]) {
    if constexpr (kScaled) scale_columns(tile_scales(turn));
    const std::int32_t tile = w.first_tile + turn;
    const std::int32_t first = tile * kKeys;
    const bool whole = first >= row[1].begin && first >= row[0].begin &&
                       first + kKeys <= row[0].end && first + kKeys <= row[1].end;
    if (kExtras || !__all_sync(0xFFFFFFFFU, whole)) {
#pragma unroll
      for (int i = 0; i < kScores; ++i) {
        const std::int32_t key = first + i / 4 * 8 + lane % 4 * 2 + (i & 1);
        const QueryRow& r = row[i / 2 & 1];
        if constexpr (kExtras)
          scores[i] = exponent_of<true>(l.arguments,
                                        kRanged ? scores[i] * unit[i / 2 & 1] : scores[i], r, key);
        if (key < r.begin || key >= r.end) scores[i] = -INFINITY;
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float most = scores[2 * half];
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n)
        most = fmaxf(most, fmaxf(scores[4 * n + 2 * half], scores[4 * n + 2 * half + 1]));
      const float next = fmaxf(largest[half], quad_max(most));
      const float by = kExtras ? 1.F : unit[half];
      const float base = next == -INFINITY ? 0.F : next * by;
      shrink[half] = power_of_two(__fmaf_rn(largest[half], by, -base));
      largest[half] = next;
      float sum = 0.F;
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
        for (int i = 4 * n + 2 * half; i < 4 * n + 2 * half + 2; ++i) {
          scores[i] = power_of_two(__fmaf_rn(scores[i], by, -base));
          sum += scores[i];
        }
      total[half] = total[half] * shrink[half] + sum;
    }
  }
  __device__ void round_weights(int turn) {
    if constexpr (kScaled) scale_columns(tile_scales(turn) + kKeys);
#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        weights[k][i] = pack<T>(scores[8 * k + 2 * i], scores[8 * k + 2 * i + 1]);
  }

  /// Rows past the sequence's last token hold what was there before; 0 times that must be 0.
  __device__ void clear_tail(std::int32_t tile, std::uint32_t values) {
    const std::int32_t kept = w.cached + w.tokens - tile * kKeys;
    if (kept >= kKeys) return;
    for (int i = thread; i < (kKeys - kept) * (kHeadDim / 8); i += 128) {
      const int r = kept + i / (kHeadDim / 8);
      const int piece = i % (kHeadDim / 8);
      const std::uint32_t to = values + piece / 8 * kColumnBytes + r * 128 + piece % 8 * 16;
      asm volatile("st.shared.v4.b32 [%0], {%1, %1, %1, %1};" ::"r"(to), "r"(0) : "memory");
    }
    fence_shared_writes();
    sync_warps(kGroupBarrier + group, 128);
  }

  __device__ void release(std::uint32_t barrier) const {
    __syncwarp();
    if (lane == 0) arrive(barrier);
  }

  __device__ void run(const Barriers<Cache, kHeadDim>& barriers) {
    const std::uint32_t keys = shared + L::kKeysAt;
    const std::uint32_t values = shared + L::kValuesAt;
    const int turns = w.end_tile - w.first_tile;
    largest[0] = largest[1] = -INFINITY;
    total[0] = total[1] = 0.F;
    load_queries();
    set_units();
    if (group == 1 && turns > 1) arrive_warps(kTurnBarrier, 256);
    float shrink[2];
    wait_for(barriers.full_keys(0), 0);
    begin_products();
    queue_scores(keys);
    wait_products<0>();
    release(barriers.free_keys(0));
    soften(0, shrink);
    round_weights(0);
    int before = 0;  // stage of the values of the turn before
    for (int turn = 1; turn < turns; ++turn) {
      const int stage = turn % L::kStages;
      wait_for(barriers.full_keys(stage), static_cast<std::uint32_t>(turn / L::kStages % 2));
      wait_for(barriers.full_values(before),
               static_cast<std::uint32_t>((turn - 1) / L::kStages % 2));
      sync_warps(kTurnBarrier + group, 256);
      begin_products();
      queue_scores(keys + stage * L::kTileBytes);
      queue_values(values + before * L::kTileBytes, turn > 1);
      if (group == 0 || turn + 1 < turns) arrive_warps(kTurnBarrier + 1 - group, 256);
      wait_products<1>();
      release(barriers.free_keys(stage));
      soften(turn, shrink);
      wait_products<0>();
      release(barriers.free_values(before));
#pragma unroll
      for (int i = 0; i < kSums; ++i) sums[i] *= shrink[i / 2 & 1];
      round_weights(turn);
      before = stage;
    }
    wait_for(barriers.full_values(before),
             static_cast<std::uint32_t>((turns - 1) / L::kStages % 2));
    clear_tail(w.end_tile - 1, values + before * L::kTileBytes);
    begin_products();
    queue_values(values + before * L::kTileBytes, turns > 1);
    wait_products<0>();
    write();
  }

  __device__ void write() const {
    float inverse[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float all = quad_sum(total[half]);
      inverse[half] = all > 0.F ? 1.F / all : 0.F;
    }
    if (l.out_type == kRowType)
      write_rows(inverse);
    else
      write_pairs(inverse);
  }

  /// In the queries' type: by way of shared memory, where the queries were, as whole rows.
  __device__ void write_rows(const float (&inverse)[2]) const {
    const int warp = thread / 32;
    sync_warps(kGroupBarrier + group, 128);  // no product reads the queries any more
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int r = warp * 16 + half * 8 + lane / 4;
#pragma unroll
      for (int n = 0; n < kHeadDim / 8; ++n) {
        const std::uint32_t to =
            queries + n / 8 * (64 * 128) + r * 128 + ((n ^ r) & 7) * 16 + lane % 4 * 4;
        asm volatile("st.shared.b32 [%0], %1;" ::"r"(to),
                     "r"(pack<Row>(sums[4 * n + 2 * half] * inverse[half],
                                   sums[4 * n + 2 * half + 1] * inverse[half]))
                     : "memory");
      }
    }
    __syncwarp();
    const std::int32_t heads = l.arguments.heads;
    const std::int32_t per_key = heads / l.arguments.kv_heads;
    constexpr int kPieces = kHeadDim / 8;
#pragma unroll
    for (int i = 0; i < 16 * kPieces / 32; ++i) {
      const int r = warp * 16 + (i * 32 + lane) / kPieces;
      const int piece = (i * 32 + lane) % kPieces;
      const std::int32_t index = w.first_row + group * 64 + r;
      if (index >= w.rows) continue;
      uint4 value;
      const std::uint32_t from =
          queries + piece / 8 * (64 * 128) + r * 128 + ((piece ^ r) & 7) * 16;
      asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
                   : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
                   : "r"(from)
                   : "memory");
      const std::int32_t token = index / per_key;
      const std::int64_t head = static_cast<std::int64_t>(w.first_token + token) * heads +
                                w.kv_head * per_key + (index - token * per_key);
      *reinterpret_cast<uint4*>(static_cast<Row*>(l.out) + head * kHeadDim + piece * 8) = value;
    }
  }
  __device__ void write_pairs(const float (&inverse)[2]) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      if (row[half].token >= w.tokens) continue;
      const std::int64_t at =
          (static_cast<std::int64_t>(w.first_token + row[half].token) * l.arguments.heads +
           row[half].head) *
              kHeadDim +
          lane % 4 * 2;
#pragma unroll
      for (int n = 0; n < kHeadDim / 8; ++n)
        store_pair(l.out, l.out_type, at + n * 8, sums[4 * n + 2 * half] * inverse[half],
                   sums[4 * n + 2 * half + 1] * inverse[half]);
    }
  }
};

}  // namespace tenon::cuda::attention_hopper
