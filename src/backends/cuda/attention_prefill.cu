// Attention of context chunks over the paged cache with warp-level matrix products, for any device
// from compute capability 8.0 on: a block has 64 query rows and walks over tiles of keys, of which
// the next is on its way while one is used. Tiles begin at multiples of their size, so that a row's
// sums do not depend on where its chunk began.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/attention_launch.h"
#include "backends/cuda/cuda_api.h"
#include "backends/cuda/device/attention_rows.cuh"

namespace tenon::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kRows = 64;  // 16 a warp
constexpr int kStages = 2;

template <int kHeadDim>
struct Tile {
  static constexpr int kKeys = kHeadDim > 128 ? 32 : 64;
  static constexpr int kStride = kHeadDim + 8;  // an odd number of 16-byte units: no bank twice
  static constexpr int kPieces = kHeadDim / 8;  // of 16 bytes in a row
  static constexpr int kBytes = 2 * kStride * (kRows + 2 * kStages * kKeys);
};

template <class T, int kHeadDim>
__device__ void load_queries(const AttentionLaunch& l, T* to, std::int32_t first_row,
                             std::int32_t rows, std::int32_t first_token, std::int32_t kv_head) {
  using Shape = Tile<kHeadDim>;
  const std::int32_t group = l.arguments.heads / l.arguments.kv_heads;
  for (int i = threadIdx.x; i < kRows * Shape::kPieces; i += kThreads) {
    const std::int32_t row = first_row + i / Shape::kPieces;
    const std::int32_t token = row / group;
    const std::int64_t head = static_cast<std::int64_t>(first_token + token) * l.arguments.heads +
                              kv_head * group + (row - token * group);
    const bool valid = row < rows;
    const T* from = static_cast<const T*>(l.q) +
                    (valid ? head * kHeadDim + i % Shape::kPieces * 8 : std::int64_t{0});
    copy_async(shared_address(to + i / Shape::kPieces * Shape::kStride + i % Shape::kPieces * 8),
               from, valid);
  }
}

// Keys and values of places [first, first + kKeys); zeros outside [begin, end).
template <class T, int kHeadDim>
__device__ void load_tile(const CacheLayer& layer, T* keys, T* values, std::int32_t slot,
                          std::int32_t first, std::int32_t begin, std::int32_t end,
                          std::int32_t kv_head) {
  using Shape = Tile<kHeadDim>;
  for (int i = threadIdx.x; i < Shape::kKeys * Shape::kPieces; i += kThreads) {
    const int row = i / Shape::kPieces;
    const int piece = i % Shape::kPieces * 8;
    const std::int32_t place = first + row;
    const bool valid = place >= begin && place < end;
    const std::int64_t at =
        valid ? cache_row(layer, slot, place, kv_head) * kHeadDim + piece : std::int64_t{0};
    copy_async(shared_address(keys + row * Shape::kStride + piece),
               static_cast<const T*>(layer.keys) + at, valid);
    copy_async(shared_address(values + row * Shape::kStride + piece),
               static_cast<const T*>(layer.values) + at, valid);
  }
}

template <class T, int kHeadDim, bool kExtras>
__global__ void __launch_bounds__(kThreads)
    prefill_kernel(const __grid_constant__ AttentionLaunch l) {
  using Shape = Tile<kHeadDim>;
  constexpr int kScores = Shape::kKeys / 8;  // fragments of 8 keys
  constexpr int kOutputs = kHeadDim / 8;
  extern __shared__ __align__(16) char memory[];
  T* const queries = reinterpret_cast<T*>(memory);
  T* const keys = queries + kRows * Shape::kStride;
  T* const values = keys + kStages * Shape::kKeys * Shape::kStride;

  const AttentionArguments& a = l.arguments;
  const auto kv_head = static_cast<std::int32_t>(blockIdx.x);
  const auto s = static_cast<std::int32_t>(l.first_sequence + blockIdx.z);
  const std::int32_t first_token = l.view.token_begin[s];
  const std::int32_t tokens = l.view.token_begin[s + 1] - first_token;
  if (tokens < l.fewest_tokens) return;
  const std::int32_t group = a.heads / a.kv_heads;
  const std::int32_t rows = tokens * group;
  const std::int32_t tiles = (rows + kRows - 1) / kRows;
  if (static_cast<std::int32_t>(blockIdx.y) >= tiles) return;
  const std::int32_t first_row = (tiles - 1 - static_cast<std::int32_t>(blockIdx.y)) * kRows;
  const std::int32_t cached = l.view.cached_tokens[s];
  const std::int32_t slot = l.view.slots[s];

  load_queries<T, kHeadDim>(l, queries, first_row, rows, first_token, kv_head);
  commit_copies();
  const QueryRow top = query_row(a, first_row, tokens, cached, kv_head);
  const std::int32_t last_row = min(first_row + kRows, rows) - 1;
  const QueryRow bottom = query_row(a, last_row, tokens, cached, kv_head);
  const std::int32_t first_tile = top.begin / Shape::kKeys;
  const std::int32_t end_tile = (bottom.end + Shape::kKeys - 1) / Shape::kKeys;

  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  const QueryRow row[2] = {
      query_row(a, first_row + warp * 16 + lane / 4, tokens, cached, kv_head),
      query_row(a, first_row + warp * 16 + lane / 4 + 8, tokens, cached, kv_head)};

  const auto stage = [&](std::int32_t tile) {
    return (tile - first_tile) % kStages * Shape::kKeys * Shape::kStride;
  };
  load_tile<T, kHeadDim>(a.layer, keys, values, slot, first_tile * Shape::kKeys, top.begin,
                         bottom.end, kv_head);
  commit_copies();

  float sums[kOutputs][4] = {};
  RunningSoftmax softmax[2];
  const std::uint32_t query_address =
      shared_address(queries + (warp * 16 + lane % 16) * Shape::kStride + lane / 16 * 8);
  const int key_offset = ((lane & 7) + lane / 16 * 8) * Shape::kStride + (lane >> 3 & 1) * 8;
  const int value_offset = (lane & 15) * Shape::kStride + lane / 16 * 8;

  for (std::int32_t tile = first_tile; tile < end_tile; ++tile) {
    if (tile + 1 < end_tile)
      load_tile<T, kHeadDim>(a.layer, keys + stage(tile + 1), values + stage(tile + 1), slot,
                             (tile + 1) * Shape::kKeys, top.begin, bottom.end, kv_head);
    commit_copies();
    wait_copies<1>();
    __syncthreads();

    float scores[kScores][4] = {};
    const std::uint32_t key_address = shared_address(keys + stage(tile) + key_offset);
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; ++k) {
      std::uint32_t q[4];
      load_matrices(q, query_address + k * 32);
#pragma unroll
      for (int n = 0; n < kScores; n += 2) {
        std::uint32_t b[4];
        load_matrices(b, key_address + (n * 8 * Shape::kStride + k * 16) * 2);
        multiply<T>(scores[n], q, b[0], b[1]);
        multiply<T>(scores[n + 1], q, b[2], b[3]);
      }
    }

    const std::int32_t first = tile * Shape::kKeys;
    const bool whole = first >= bottom.begin && first + Shape::kKeys <= top.end;
    float largest[2] = {-INFINITY, -INFINITY};
#pragma unroll
    for (int n = 0; n < kScores; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const std::int32_t key = first + n * 8 + lane % 4 * 2 + (i & 1);
        const QueryRow& r = row[i / 2];
        float x = exponent_of<kExtras>(a, scores[n][i], r, key);
        if (!whole && (key < r.begin || key >= r.end)) x = -INFINITY;
        scores[n][i] = x;
        largest[i / 2] = fmaxf(largest[i / 2], x);
      }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float base;
      const float shrink = softmax[half].raise(quad_max(largest[half]), base);
#pragma unroll
      for (int n = 0; n < kOutputs; ++n) {
        sums[n][2 * half] *= shrink;
        sums[n][2 * half + 1] *= shrink;
      }
#pragma unroll
      for (int n = 0; n < kScores; ++n)
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; ++i) {
          scores[n][i] = power_of_two(__fsub_rn(scores[n][i], base));
          softmax[half].total += scores[n][i];
        }
    }

    const std::uint32_t value_address = shared_address(values + stage(tile) + value_offset);
#pragma unroll
    for (int k = 0; k < kScores / 2; ++k) {
      const std::uint32_t p[4] = {pack<T>(scores[2 * k][0], scores[2 * k][1]),
                                  pack<T>(scores[2 * k][2], scores[2 * k][3]),
                                  pack<T>(scores[2 * k + 1][0], scores[2 * k + 1][1]),
                                  pack<T>(scores[2 * k + 1][2], scores[2 * k + 1][3])};
#pragma unroll
      for (int n = 0; n < kOutputs; n += 2) {
        std::uint32_t b[4];
        load_transposed(b, value_address + (k * 16 * Shape::kStride + n * 8) * 2);
        multiply<T>(sums[n], p, b[0], b[1]);
        multiply<T>(sums[n + 1], p, b[2], b[3]);
      }
    }
    __syncthreads();  // before the stage is filled again
  }

#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float total = quad_sum(softmax[half].total);
    if (row[half].token >= tokens) continue;
    const float inverse = total > 0.F ? 1.F / total : 0.F;
    const std::int64_t at =
        (static_cast<std::int64_t>(first_token + row[half].token) * a.heads + row[half].head) *
            kHeadDim +
        lane % 4 * 2;
#pragma unroll
    for (int n = 0; n < kOutputs; ++n)
      store_pair(l.out, l.out_type, at + n * 8, sums[n][2 * half] * inverse,
                 sums[n][2 * half + 1] * inverse);
  }
}

template <class T, int kHeadDim, bool kExtras>
void run(const AttentionLaunch& l) {
  const std::int32_t group = l.arguments.heads / l.arguments.kv_heads;
  const dim3 grid(static_cast<unsigned>(l.arguments.kv_heads),
                  static_cast<unsigned>((l.longest_chunk * group + kRows - 1) / kRows),
                  static_cast<unsigned>(l.sequences - l.first_sequence));
  const auto kernel = prefill_kernel<T, kHeadDim, kExtras>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             Tile<kHeadDim>::kBytes),
        "shared memory of attention");
  kernel<<<grid, kThreads, Tile<kHeadDim>::kBytes, l.stream>>>(l);
  check_launch("attention of context");
}

template <class T, int kHeadDim>
void run(const AttentionLaunch& l) {
  if (has_score_extras(l.arguments))
    run<T, kHeadDim, true>(l);
  else
    run<T, kHeadDim, false>(l);
}

template <class T>
void run(const AttentionLaunch& l) {
  switch (l.arguments.head_dim) {
    case 64: return run<T, 64>(l);
    case 80: return run<T, 80>(l);
    case 96: return run<T, 96>(l);
    case 128: return run<T, 128>(l);
    default: return run<T, 256>(l);
  }
}

}  // namespace

void launch_attention_prefill(const AttentionLaunch& l) {
  if (l.sequences <= l.first_sequence || l.longest_chunk < l.fewest_tokens) return;
  if (l.arguments.layer.dtype == DataType::kFloat16)
    run<__half>(l);
  else
    run<__nv_bfloat16>(l);
}

}  // namespace tenon::cuda
