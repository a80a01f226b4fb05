// One thread block of decode attention: a warp's stages of keys and values on their way, the
// products over them, a unit's sums and how those of a pair are added up. Over a cache in 16 bits;
// attention_decode_codes.cuh has what is different with one in 8.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "backends/cuda/attention_launch.h"
#include "backends/cuda/device/attention_rows.cuh"
#include "backends/cuda/device/attention_walk.cuh"

namespace tenon::cuda::attention_decode {

constexpr int kWarps = 4;
constexpr int kThreads = 32 * kWarps;
constexpr int kRows = 16;  // of a product
constexpr int kTokens = 16;
constexpr std::int32_t kSequences = 4096;  // of one launch: their prefix sums lie in shared memory

template <class T, int kHeadDim, int kMostRows>
struct Stage {  // of one warp, in 16 bits
  using Element = T;
  static constexpr int kCount = kHeadDim == 64 ? 5 : kHeadDim < 128 ? 4 : 3;
  static constexpr int kStride = kHeadDim + 8;
  static constexpr int kElements = 2 * kTokens * kStride;
  static constexpr int kBytes = 2 * kElements;
  static_assert(kBytes >= kRows * kHeadDim * 4, "a unit's sums lie in the stage read last");
};

template <int kHeadDim>
constexpr int blocks_of_one_multiprocessor() {
  return kHeadDim > 128 ? 1 : 2;
}

struct Shared {
  float largest[kWarps][kRows];
  float total[kWarps][kRows];
  std::uint32_t tiles[kWarps];  // of a warp's sequences
  std::uint32_t most[kWarps];   // of one of them
  bool is_last;
  float2 units[512];  // largest exponents and totals of units that are added up: [unit][row]
};

/// Behind the stages: Shared, the known sequences, the tiles before each.
constexpr std::size_t table_bytes(std::int32_t sequences) {
  const std::int32_t known = sequences < kKnownSequences ? sequences : kKnownSequences;
  return sizeof(Shared) + static_cast<std::size_t>(known) * sizeof(DecodeSequence) +
         (static_cast<std::size_t>(sequences) + 1) * sizeof(std::uint32_t);
}
template <class StageT>
constexpr std::size_t shared_bytes(std::int32_t sequences) {
  return kWarps * StageT::kCount * StageT::kBytes + table_bytes(sequences);
}

/// With this many sequences a multiprocessor of Hopper still has room for two blocks.
constexpr std::int32_t kSequencesOfTwoBlocks = 256;
constexpr std::size_t kHalfOfShared = 233472 / 2 - 1024;

// Floats of one unit's sums in the workspace: a maximum and a total a row, then the rows.
__host__ __device__ constexpr std::int64_t unit_floats(std::int64_t rows, std::int64_t head_dim) {
  return rows * (head_dim + 2);
}

// Tiles of all sequences before each, and the known sequences, by the whole block; gives the most
// tiles that a sequence has.
__device__ std::int32_t plan_step(const AttentionArguments& a, const StepView& view,
                                  std::int32_t sequences, DecodeSequence* known,
                                  std::uint32_t* before, Shared& shared) {
  const int lane = threadIdx.x % 32;
  const int own_warp = threadIdx.x / 32;
  std::uint32_t most = 0;
  std::uint32_t so_far = 0;
  for (std::int32_t first = 0; first < sequences; first += kThreads) {
    const std::int32_t s = first + static_cast<std::int32_t>(threadIdx.x);
    std::uint32_t own = 0;
    if (s < sequences) {
      const DecodeSequence sequence = decode_sequence(a, view, s);
      own = static_cast<std::uint32_t>(sequence.span.tiles());
      if (s < kKnownSequences) known[s] = sequence;
    }
    std::uint32_t sum = own;
    for (int step = 1; step < 32; step *= 2) {
      const std::uint32_t other = __shfl_up_sync(0xFFFFFFFFU, sum, step);
      if (lane >= step) sum += other;
    }
    const std::uint32_t largest = __reduce_max_sync(0xFFFFFFFFU, own);
    if (first > 0) __syncthreads();  // the last round's are read
    if (lane == 31) {
      shared.tiles[own_warp] = sum;
      shared.most[own_warp] = largest;
    }
    __syncthreads();
    std::uint32_t all = so_far;
    for (int warp = 0; warp < kWarps; ++warp) {
      if (warp == own_warp && s < sequences) before[s] = all + sum - own;
      all += shared.tiles[warp];
      most = max(most, shared.most[warp]);
    }
    so_far = all;
  }
  if (threadIdx.x == 0) before[sequences] = so_far;
  __syncthreads();
  return static_cast<std::int32_t>(most);
}

// The pair's sums so far, spread over the block: element e = i * kThreads + thread of [rows,
// head_dim]. Units are taken in one after the other, the same way wherever their sums come from.
template <int kHeadDim, int kMostRows>
struct PairSums {
  static constexpr int kElements = kMostRows * kHeadDim / kThreads;
  // Where all of a step's elements lie in one row, rows are kept once.
  static constexpr int kKept = kHeadDim % kThreads == 0 ? kMostRows : kElements;
  float sum[kElements];
  float largest[kKept];
  float total[kKept];

  __device__ static int row(int i) {
    return (i * kThreads + static_cast<int>(threadIdx.x)) / kHeadDim;
  }
  __device__ static constexpr int kept(int i) { return i * kKept / kElements; }
  __device__ void clear() {
#pragma unroll
    for (int i = 0; i < kElements; ++i) sum[i] = 0.F;
#pragma unroll
    for (int i = 0; i < kKept; ++i) {
      largest[i] = -INFINITY;
      total[i] = 0.F;
    }
  }
  /// Called for i = 0, 1, … of one unit, in order.
  __device__ void take(int i, float unit_sum, float unit_largest, float unit_total) {
    const int k = kept(i);
    if (i == 0 || kept(i - 1) != k) {
      const float next = fmaxf(largest[k], unit_largest);
      const float base = next == -INFINITY ? 0.F : next;
      old_weight = power_of_two(largest[k] - base);
      new_weight = power_of_two(unit_largest - base);
      largest[k] = next;
      total[k] = __fmaf_rn(total[k], old_weight, __fmul_rn(unit_total, new_weight));
    }
    sum[i] = __fmaf_rn(sum[i], old_weight, __fmul_rn(unit_sum, new_weight));
  }

 private:
  float old_weight = 0.F;
  float new_weight = 0.F;
};

/// What does not depend on how the cache holds its elements.
template <class StageT, int kHeadDim, int kMostRows>
struct DecodeBlock {
  using Stage = StageT;
  using Element = typename StageT::Element;
  using Sums = PairSums<kHeadDim, kMostRows>;
  static constexpr int kWidth = kHeadDim;
  static constexpr int kUnitRows = kMostRows;
  static constexpr int kOutputs = kHeadDim / 8;
  static constexpr int kHalves = kMostRows / 8;

  const AttentionLaunch& l;
  const AttentionArguments& a;
  Element* stages;  // this warp's
  int warp;
  int lane;
  std::int32_t group;       // heads of a key-value head
  std::int32_t row_blocks;  // pairs that one key-value head makes

  // Groups of up to eight heads make one pair each (decode_rows()): no divisions.
  static constexpr bool kOnePair = kMostRows == 8;
  __device__ std::int32_t kv_head(const DecodeWalk& w) const {
    return kOnePair ? w.head : w.head / row_blocks;
  }
  __device__ std::int32_t first_head(const DecodeWalk& w) const {
    return kOnePair ? w.head * group : kv_head(w) * group + w.head % row_blocks * kMostRows;
  }
  __device__ std::int32_t rows(const DecodeWalk& w) const {
    return kOnePair ? group : min(kMostRows, group - w.head % row_blocks * kMostRows);
  }
  __device__ std::int32_t first_place(const DecodeWalk& w) const {
    return (w.sequence.span.first() + w.tile) * kDecodeTile + warp * kTokens;
  }

  /// Adds up a pair's units from the workspace, several of them on their way at a time.
  template <int kMostUnits>
  __device__ void add_units(Sums& pair, const float* slots, int units, std::int32_t kept_rows,
                            std::int32_t live_rows, Shared& shared) const {
    const std::int64_t floats = unit_floats(kept_rows, kHeadDim);
    for (int i = threadIdx.x; i < units * live_rows; i += kThreads) {
      const int unit = i / live_rows;
      const int row = i - unit * live_rows;
      const float* const from = slots + unit * floats + row;
      shared.units[unit * kMostRows + row] = make_float2(__ldcg(from), __ldcg(from + kept_rows));
    }
    __syncthreads();
    // What is under way has no more registers than the products' sums had.
    constexpr int kElements = Sums::kElements;
    constexpr int kBatch = kElements <= 6 ? 8 : kElements <= 8 ? 5 : kElements <= 16 ? 3 : 2;
    for (int first = 0; first < units; first += kBatch) {
      float part[kBatch][Sums::kElements];
#pragma unroll
      for (int j = 0; j < kBatch; ++j)
#pragma unroll
        for (int i = 0; i < Sums::kElements; ++i)
          part[j][i] = first + j < units && Sums::row(i) < live_rows
                           ? __ldcg(slots + (first + j) * floats + 2 * kept_rows + i * kThreads +
                                    threadIdx.x)
                           : 0.F;
#pragma unroll
      for (int j = 0; j < kBatch; ++j) {
        if (first + j >= units) break;
#pragma unroll
        for (int i = 0; i < Sums::kElements; ++i) {
          if (Sums::row(i) >= live_rows) break;
          const float2 unit = shared.units[(first + j) * kMostRows + Sums::row(i)];
          pair.take(i, part[j][i], unit.x, unit.y);
        }
      }
    }
  }

  __device__ void write(const DecodeWalk& w, const Sums& sums) const {
    const std::int64_t first =
        (static_cast<std::int64_t>(w.sequence.token) * a.heads + first_head(w)) * kHeadDim +
        threadIdx.x;
    if (l.out_type == DataType::kFloat32)
      write_rows(static_cast<float*>(l.out) + first, rows(w), sums);
    else if (l.out_type == DataType::kFloat16)
      write_rows(static_cast<__half*>(l.out) + first, rows(w), sums);
    else
      write_rows(static_cast<__nv_bfloat16*>(l.out) + first, rows(w), sums);
  }

 private:
  template <class Out>
  __device__ static void write_rows(Out* to, std::int32_t count, const Sums& sums) {
#pragma unroll
    for (int i = 0; i < Sums::kElements; ++i) {
      if (Sums::row(i) >= count) break;
      const float total = sums.total[Sums::kept(i)];
      to[i * kThreads] = from_float<Out>(total > 0.F ? __fdividef(sums.sum[i], total) : 0.F);
    }
  }
};

template <class T, int kHeadDim, int kMostRows, bool kExtras>
struct Decode : DecodeBlock<Stage<T, kHeadDim, kMostRows>, kHeadDim, kMostRows> {
  using Base = DecodeBlock<Stage<T, kHeadDim, kMostRows>, kHeadDim, kMostRows>;
  using Base::a;
  using Base::first_head;
  using Base::first_place;
  using Base::kHalves;
  using Base::kOutputs;
  using Base::kv_head;
  using Base::l;
  using Base::lane;
  using Base::rows;
  using Base::stages;
  using Base::warp;
  using typename Base::Stage;

  /// Queues the warp's tokens of the tile into a stage.
  __device__ void load(const DecodeWalk& w, int stage) const {
    constexpr int kPieces = kHeadDim / 8;
    const std::int32_t place = first_place(w) + lane % kTokens;
    const bool valid = place >= w.sequence.span.begin && place < w.sequence.span.end;
    const std::int32_t own =
        valid ? static_cast<std::int32_t>(cache_row(a.layer, w.sequence.slot, place, kv_head(w)))
              : -1;
    T* const keys = stages + stage * Stage::kElements;
    T* const values = keys + kTokens * Stage::kStride;
    // Short code, where a lane has the same piece of every token.
    constexpr int kUnrolled = 32 % kPieces == 0 ? 4 : kTokens * kPieces / 32;
#pragma unroll kUnrolled
    for (int i = 0; i < kTokens * kPieces / 32; ++i) {
      const int token = (i * 32 + lane) / kPieces;
      const int piece = (i * 32 + lane) % kPieces * 8;
      const std::int32_t row = __shfl_sync(0xFFFFFFFFU, own, token);
      const std::int64_t at = row < 0 ? 0 : static_cast<std::int64_t>(row) * kHeadDim + piece;
      const int to = token * Stage::kStride + piece;
      copy_async(shared_address(keys + to), static_cast<const T*>(a.layer.keys) + at, row >= 0);
      copy_async(shared_address(values + to), static_cast<const T*>(a.layer.values) + at, row >= 0);
    }
  }

  /// Query fragments of a pair, from device memory; those of wide heads are read again for every
  /// tile, since there are no registers to keep them in.
  static constexpr bool kKeepsQueries = kHeadDim <= 128;
  /// start_pair() waits for nothing: it may be called long before the pair's first tile.
  static constexpr bool kQueriesAhead = true;
  static constexpr int kFragments = kKeepsQueries ? kHeadDim / 16 : 1;
  using Queries = std::uint32_t[kFragments][4];
  __device__ void start_pair(const DecodeWalk& w, Queries& q) const {
    if constexpr (kKeepsQueries) load_queries(w, 0, q);
  }
  __device__ void load_queries(const DecodeWalk& w, int first_fragment, Queries& q) const {
    const T* const from =
        static_cast<const T*>(l.q) +
        (static_cast<std::int64_t>(w.sequence.token) * a.heads + first_head(w) + lane / 4) *
            kHeadDim +
        first_fragment * 16 + lane % 4 * 2;
    const std::int32_t count = rows(w);
#pragma unroll
    for (int half = 0; half < 2; ++half) {  // rows lane / 4, then those 8 further
      const bool live = half < kHalves && lane / 4 + half * 8 < count;
#pragma unroll
      for (int k = 0; k < kFragments; ++k)
#pragma unroll
        for (int i = 0; i < 2; ++i)
          q[k][2 * i + half] = live ? *reinterpret_cast<const std::uint32_t*>(
                                          from + half * 8 * kHeadDim + k * 16 + i * 8)
                                    : 0U;
    }
  }

  /// Of a unit.
  using Softmax = RunningSoftmax[2];
  __device__ static void clear(Softmax& softmax) { softmax[0] = softmax[1] = {}; }

  /// One tile of the warp: its 16 tokens into the running sums.
  __device__ void multiply_tile(const DecodeWalk& w, int stage, Queries& q,
                                float (&sums)[kOutputs][4], Softmax& softmax) const {
    constexpr int kStride = Stage::kStride;
    const T* const keys = stages + stage * Stage::kElements;
    const T* const values = keys + kTokens * kStride;
    float scores[2][4] = {};
    const std::uint32_t key_address =
        shared_address(keys + ((lane & 7) + lane / 16 * 8) * kStride + (lane >> 3 & 1) * 8);
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; ++k) {
      std::uint32_t b[4];
      load_matrices(b, key_address + k * 32);
      if constexpr (!kKeepsQueries) load_queries(w, k, q);
      multiply<T>(scores[0], q[k % kFragments], b[0], b[1]);
      multiply<T>(scores[1], q[k % kFragments], b[2], b[3]);
    }
    const std::int32_t first = first_place(w);
    QueryRow row;
    row.place = w.sequence.span.end - 1;
#pragma unroll
    for (int half = 0; half < kHalves; ++half) {
      row.head = min(first_head(w) + lane / 4 + 8 * half, a.heads - 1);
      float largest = -INFINITY;
#pragma unroll
      for (int n = 0; n < 2; ++n)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const std::int32_t key = first + n * 8 + lane % 4 * 2 + i;
          float& x = scores[n][2 * half + i];
          x = key >= w.sequence.span.begin && key < w.sequence.span.end
                  ? exponent_of<kExtras>(a, x, row, key)
                  : -INFINITY;
          largest = fmaxf(largest, x);
        }
      float base;
      const float shrink = softmax[half].raise(quad_max(largest), base);
#pragma unroll
      for (int n = 0; n < kOutputs; ++n) {
        sums[n][2 * half] *= shrink;
        sums[n][2 * half + 1] *= shrink;
      }
#pragma unroll
      for (int n = 0; n < 2; ++n)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          float& x = scores[n][2 * half + i];
          x = power_of_two(__fsub_rn(x, base));
          softmax[half].total += x;
        }
    }
    const std::uint32_t p[4] = {pack<T>(scores[0][0], scores[0][1]),
                                kHalves > 1 ? pack<T>(scores[0][2], scores[0][3]) : 0U,
                                pack<T>(scores[1][0], scores[1][1]),
                                kHalves > 1 ? pack<T>(scores[1][2], scores[1][3]) : 0U};
    const std::uint32_t value_address =
        shared_address(values + (lane & 15) * kStride + lane / 16 * 8);
#pragma unroll
    for (int n = 0; n < kOutputs; n += 2) {
      std::uint32_t b[4];
      load_transposed(b, value_address + n * 16);
      multiply<T>(sums[n], p, b[0], b[1]);
      multiply<T>(sums[n + 1], p, b[2], b[3]);
    }
  }

  /// The warp's sums of a unit into the stage that it read last, and to the block's table.
  __device__ void publish(float* to, Shared& shared, const float (&sums)[kOutputs][4],
                          const Softmax& softmax) const {
#pragma unroll
    for (int half = 0; half < kHalves; ++half) {
      const int row = lane / 4 + 8 * half;
      const float total = quad_sum(softmax[half].total);
      if (lane % 4 == 0) {
        shared.largest[warp][row] = softmax[half].largest;
        shared.total[warp][row] = total;
      }
#pragma unroll
      for (int n = 0; n < kOutputs; ++n)
        *reinterpret_cast<float2*>(to + row * kHeadDim + n * 8 + lane % 4 * 2) =
            make_float2(sums[n][2 * half], sums[n][2 * half + 1]);
    }
  }
};

}  // namespace tenon::cuda::attention_decode
