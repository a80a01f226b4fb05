// Attention of context chunks over the paged cache with Hopper's warpgroup products. A block has
// 128 query rows and three warpgroups: one brings tiles of keys and values from the cache's blocks
// by bulk copies, two have 64 rows each. While a warpgroup's softmax runs, its own product with the
// values before and the other's products run: they take turns in issuing them.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/attention_cache_map.h"
#include "backends/cuda/attention_launch.h"
#include "backends/cuda/cuda_api.h"
#include "backends/cuda/device/attention_rows.cuh"
#include "backends/cuda/device/attention_wgmma.cuh"

namespace tenon::cuda {
namespace {

constexpr int kKeys = 128;  // of a tile
constexpr int kRows = 128;
constexpr int kThreads = 384;
constexpr int kColumn = 64;       // elements of a row of 128 bytes
constexpr int kTurnBarrier = 1;   // and the next: whose turn it is to issue products
constexpr int kGroupBarrier = 3;  // and the next: of one warpgroup
constexpr int kConsumerWarps = 8;

template <int kHeadDim>
struct Layout {
  static constexpr int kStages = kHeadDim == 64 ? 4 : 2;
  static constexpr int kTileBytes = kKeys * kHeadDim * 2;  // of keys; as many of values
  static constexpr int kColumnBytes = kKeys * kColumn * 2;
  static constexpr int kQueryBytes = kRows * kHeadDim * 2;
  static constexpr int kBytes = kQueryBytes + 2 * kStages * kTileBytes + 4 * kStages * 8 + 1024;
};

// Which tile of which sequence a block has.
struct Work {
  std::int32_t first_token, tokens, cached, slot, kv_head;
  std::int32_t rows, first_row;
  std::int32_t begin, end;  // places of the keys that any of the rows sees
  std::int32_t first_tile, end_tile;
  bool valid;
};

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

template <int kHeadDim>
struct Barriers {
  static constexpr int kStages = Layout<kHeadDim>::kStages;
  std::uint32_t first;
  __device__ std::uint32_t full_keys(int stage) const { return first + 8 * stage; }
  __device__ std::uint32_t full_values(int stage) const { return full_keys(kStages + stage); }
  __device__ std::uint32_t free_keys(int stage) const { return full_keys(2 * kStages + stage); }
  __device__ std::uint32_t free_values(int stage) const { return full_keys(3 * kStages + stage); }
};

// One warp: each lane brings a box, which is the 128-byte wide part of one cache block.
template <int kHeadDim>
__device__ void produce(const AttentionLaunch& l, const Work& w, const CUtensorMap& key_map,
                        const CUtensorMap& value_map, std::uint32_t keys, std::uint32_t values,
                        const Barriers<kHeadDim>& barriers) {
  using L = Layout<kHeadDim>;
  const CacheLayer& layer = l.arguments.layer;
  const int lane = threadIdx.x % 32;
  const int blocks = kKeys / layer.block_tokens;  // of a tile
  const bool brings = lane < blocks * (kHeadDim / kColumn);
  const int column = lane / blocks;
  const int block_of_tile = lane % blocks;
  const std::uint32_t offset = static_cast<std::uint32_t>(
      column * L::kColumnBytes + block_of_tile * layer.block_tokens * kColumn * 2);
  const std::int32_t* const table =
      layer.tables + static_cast<std::int64_t>(w.slot) * layer.table_stride;
  for (std::int32_t tile = w.first_tile; tile < w.end_tile; ++tile) {
    const int turn = tile - w.first_tile;
    const int stage = turn % L::kStages;
    const auto parity = static_cast<std::uint32_t>(turn / L::kStages % 2) ^ 1U;
    const std::int32_t at = tile * blocks + block_of_tile;
    const std::int32_t first = at * layer.block_tokens;
    const bool seen = first < w.end && first + layer.block_tokens > w.begin;
    const std::int32_t block = brings && seen ? table[at] : -1;  // -1: outside, hence zeros
    const int z = block < 0 ? -1 : block * layer.kv_heads + w.kv_head;
    wait_for(barriers.free_keys(stage), parity);
    if (lane == 0) arrive_expecting(barriers.full_keys(stage), L::kTileBytes);
    __syncwarp();
    if (brings)
      copy_box(keys + stage * L::kTileBytes + offset, key_map, column * kColumn, 0, z,
               barriers.full_keys(stage));
    wait_for(barriers.free_values(stage), parity);
    if (lane == 0) arrive_expecting(barriers.full_values(stage), L::kTileBytes);
    __syncwarp();
    if (brings)
      copy_box(values + stage * L::kTileBytes + offset, value_map, column * kColumn, 0, z,
               barriers.full_values(stage));
  }
}

template <class T, int kHeadDim, bool kExtras>
struct Consumer {
  using L = Layout<kHeadDim>;
  static constexpr int kSums = kHeadDim / 2;  // registers of the output rows

  const AttentionLaunch& l;
  const Work& w;
  int group;   // warpgroup: 0 or 1
  int thread;  // of the warpgroup
  int lane;
  QueryRow row[2];
  std::uint32_t queries;  // this warpgroup's 64 rows
  float sums[kSums];
  float scores[64];
  std::uint32_t weights[8][4];
  float largest[2];  // in units of products, where they are scaled with `unit` below
  float total[2];
  float unit;

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
        value = *reinterpret_cast<const uint4*>(static_cast<const T*>(l.q) + head * kHeadDim +
                                                piece * 8);
      }
      const std::uint32_t to = queries + piece / 8 * (64 * 128) + r * 128 + ((piece ^ r) & 7) * 16;
      asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(value.x), "r"(value.y),
                   "r"(value.z), "r"(value.w)
                   : "memory");
    }
    fence_shared_writes();
    sync_warps(kGroupBarrier + group, 128);
  }

  __device__ void queue_scores(std::uint32_t keys) {
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; ++k)
      multiply_scores<T>(scores, operand(queries + k / 4 * (64 * 128) + k % 4 * 32, 0),
                         operand(keys + k / 4 * L::kColumnBytes + k % 4 * 32, 0), k > 0);
    commit_products();
  }
  __device__ void queue_values(std::uint32_t values, bool adds) {
#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k)
      multiply_values<T>(sums, weights[k], operand(values + k * 16 * 128, L::kColumnBytes),
                         adds || k > 0);
    commit_products();
  }

  /// Scores of a tile to weights that are not yet rounded; gives what the sums must shrink by.
  __device__ void soften(std::int32_t tile, float (&shrink)[2]) {
    const std::int32_t first = tile * kKeys;
    const bool whole = first >= row[1].begin && first >= row[0].begin &&
                       first + kKeys <= row[0].end && first + kKeys <= row[1].end;
    if (kExtras || !__all_sync(0xFFFFFFFFU, whole)) {
#pragma unroll
      for (int i = 0; i < 64; ++i) {
        const std::int32_t key = first + i / 4 * 8 + lane % 4 * 2 + (i & 1);
        const QueryRow& r = row[i / 2 & 1];
        if constexpr (kExtras) scores[i] = exponent_of<true>(l.arguments, scores[i], r, key);
        if (key < r.begin || key >= r.end) scores[i] = -INFINITY;
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float most = scores[2 * half];
#pragma unroll
      for (int n = 0; n < 16; ++n)
        most = fmaxf(most, fmaxf(scores[4 * n + 2 * half], scores[4 * n + 2 * half + 1]));
      const float next = fmaxf(largest[half], quad_max(most));
      const float base = next == -INFINITY ? 0.F : next * unit;
      shrink[half] = power_of_two(__fmaf_rn(largest[half], unit, -base));
      largest[half] = next;
      float sum = 0.F;
#pragma unroll
      for (int n = 0; n < 16; ++n)
#pragma unroll
        for (int i = 4 * n + 2 * half; i < 4 * n + 2 * half + 2; ++i) {
          scores[i] = power_of_two(__fmaf_rn(scores[i], unit, -base));
          sum += scores[i];
        }
      total[half] = total[half] * shrink[half] + sum;
    }
  }
  __device__ void round_weights() {
#pragma unroll
    for (int k = 0; k < 8; ++k)
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
      const std::uint32_t to = values + piece / 8 * L::kColumnBytes + r * 128 + piece % 8 * 16;
      asm volatile("st.shared.v4.b32 [%0], {%1, %1, %1, %1};" ::"r"(to), "r"(0) : "memory");
    }
    fence_shared_writes();
    sync_warps(kGroupBarrier + group, 128);
  }

  __device__ void release(std::uint32_t barrier) const {
    __syncwarp();
    if (lane == 0) arrive(barrier);
  }

  __device__ void run(std::uint32_t keys, std::uint32_t values,
                      const Barriers<kHeadDim>& barriers) {
    const int turns = w.end_tile - w.first_tile;
    load_queries();
    if (group == 1 && turns > 1) arrive_warps(kTurnBarrier, 256);
    float shrink[2];
    wait_for(barriers.full_keys(0), 0);
    begin_products();
    queue_scores(keys);
    wait_products<0>();
    release(barriers.free_keys(0));
    soften(w.first_tile, shrink);
    round_weights();
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
      soften(w.first_tile + turn, shrink);
      wait_products<0>();
      release(barriers.free_values(before));
#pragma unroll
      for (int i = 0; i < kSums; ++i) sums[i] *= shrink[i / 2 & 1];
      round_weights();
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
    if (l.out_type == l.arguments.layer.dtype)
      write_rows(inverse);
    else
      write_pairs(inverse);
  }

  /// In the cache's type: by way of shared memory, where the queries were, as whole rows.
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
                     "r"(pack<T>(sums[4 * n + 2 * half] * inverse[half],
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
      *reinterpret_cast<uint4*>(static_cast<T*>(l.out) + head * kHeadDim + piece * 8) = value;
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

template <class T, int kHeadDim, bool kExtras>
__global__ void __launch_bounds__(kThreads, 1)
    hopper_kernel(const __grid_constant__ AttentionLaunch l,
                  const __grid_constant__ CUtensorMap key_map,
                  const __grid_constant__ CUtensorMap value_map) {
  using L = Layout<kHeadDim>;
  extern __shared__ char memory[];
  if (threadIdx.x == 0) {
    prefetch_map(key_map);
    prefetch_map(value_map);
  }
  const Work w = find_work(l);
  if (!w.valid) return;
  const std::uint32_t queries = (shared_address(memory) + 1023U) & ~1023U;
  const std::uint32_t keys = queries + L::kQueryBytes;
  const std::uint32_t values = keys + L::kStages * L::kTileBytes;
  const Barriers<kHeadDim> barriers{values + L::kStages * L::kTileBytes};
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < L::kStages; ++stage) {
      init_barrier(barriers.full_keys(stage), 1);
      init_barrier(barriers.full_values(stage), 1);
      init_barrier(barriers.free_keys(stage), kConsumerWarps);
      init_barrier(barriers.free_values(stage), kConsumerWarps);
    }
    publish_barriers();
  }
  __syncthreads();
  const int warpgroup = __shfl_sync(0xFFFFFFFFU, static_cast<int>(threadIdx.x) / 128, 0);
  if (warpgroup == 0) {
    give_registers<24>();
    if (threadIdx.x < 32) produce<kHeadDim>(l, w, key_map, value_map, keys, values, barriers);
  } else {
    take_registers<240>();
    const int group = warpgroup - 1;
    const int thread = static_cast<int>(threadIdx.x) % 128;
    const int lane = thread % 32;
    const std::int32_t first = w.first_row + group * 64 + thread / 32 * 16 + lane / 4;
    Consumer<T, kHeadDim, kExtras> consumer{l, w, group, thread, lane};
    consumer.row[0] = query_row(l.arguments, first, w.tokens, w.cached, w.kv_head);
    consumer.row[1] = query_row(l.arguments, first + 8, w.tokens, w.cached, w.kv_head);
    consumer.queries = queries + group * (64 * kHeadDim * 2);
    consumer.largest[0] = consumer.largest[1] = -INFINITY;
    consumer.total[0] = consumer.total[1] = 0.F;
    consumer.unit = kExtras ? 1.F : l.arguments.scale * kLog2E;
    consumer.run(keys, values, barriers);
  }
}

template <class T, int kHeadDim, bool kExtras>
void run(const AttentionLaunch& l) {
  const std::int32_t group = l.arguments.heads / l.arguments.kv_heads;
  const dim3 grid(static_cast<unsigned>(l.arguments.kv_heads),
                  static_cast<unsigned>((l.longest_chunk * group + kRows - 1) / kRows),
                  static_cast<unsigned>(l.sequences - l.first_sequence));
  const auto kernel = hopper_kernel<T, kHeadDim, kExtras>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             Layout<kHeadDim>::kBytes),
        "shared memory of attention");
  const CacheLayer& layer = l.arguments.layer;
  kernel<<<grid, kThreads, Layout<kHeadDim>::kBytes, l.stream>>>(l, map_of_cache(layer, layer.keys),
                                                                 map_of_cache(layer, layer.values));
  check_launch("attention of context");
}

template <class T, int kHeadDim>
void run(const AttentionLaunch& l) {
  if (has_score_extras(l.arguments) || !(l.arguments.scale > 0.F))
    run<T, kHeadDim, true>(l);
  else
    run<T, kHeadDim, false>(l);
}

template <class T>
void run(const AttentionLaunch& l) {
  l.arguments.head_dim == 64 ? run<T, 64>(l) : run<T, 128>(l);
}

}  // namespace

bool is_hopper_head_dim(std::int64_t head_dim) { return head_dim == 64 || head_dim == 128; }

void launch_attention_hopper(const AttentionLaunch& l) {
  if (l.sequences <= l.first_sequence || l.longest_chunk < l.fewest_tokens) return;
  if (l.arguments.layer.dtype == DataType::kFloat16)
    run<__half>(l);
  else
    run<__nv_bfloat16>(l);
}

}  // namespace tenon::cuda
