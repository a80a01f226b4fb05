// Attention of context chunks over the paged cache with warp-level matrix products, for any device
// from compute capability 8.0 on: a block has 64 query rows and walks over tiles of keys, of which
// the next is on its way while one is used. Tiles begin at multiples of their size, so that a row's
// sums do not depend on where its chunk began. Of a cache in 8 bits, the codes of the next tile are
// on their way, and the block widens them all once, in shared memory.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/attention_launch.h"
#include "backends/cuda/cuda_api.h"
#include "backends/cuda/device/attention_codes.cuh"
#include "backends/cuda/device/attention_rows.cuh"
#include "core/dtype.h"

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

// Over a cache in 8 bits there is one tile in 16 bits and, after it: the codes of one tile, of keys
// and of values, then the scales of two tiles, likewise.
template <int kHeadDim>
struct CodeTile {
  using Wide = Tile<kHeadDim>;
  static constexpr int kKeys = Wide::kKeys;
  static constexpr int kCodes = kKeys * kHeadDim;  // of keys; as many of values
  static constexpr int kFirst = 2 * Wide::kStride * (kRows + 2 * kKeys);
  static constexpr int kBytes = kFirst + 2 * kCodes + 2 * 2 * kKeys * 4;
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

// The same of codes, with their scales where there are any: [keys, values][kKeys].
template <int kHeadDim>
__device__ void load_codes(const CacheLayer& layer, std::uint8_t* codes, float* scales,
                           std::int32_t slot, std::int32_t first, std::int32_t begin,
                           std::int32_t end, std::int32_t kv_head) {
  using Shape = CodeTile<kHeadDim>;
  constexpr int kPieces = kHeadDim / 16;
  const auto row_of = [&](int row) {
    const std::int32_t place = first + row;
    return place >= begin && place < end ? cache_row(layer, slot, place, kv_head)
                                         : std::int64_t{-1};
  };
  for (int i = threadIdx.x; i < Shape::kKeys * kPieces; i += kThreads) {
    const std::int64_t row = row_of(i / kPieces);
    const std::int64_t at = row < 0 ? 0 : row * kHeadDim + i % kPieces * 16;
    const std::uint32_t to = shared_address(codes + i * 16);
    copy_async(to, static_cast<const std::uint8_t*>(layer.keys) + at, row >= 0);
    copy_async(to + Shape::kCodes, static_cast<const std::uint8_t*>(layer.values) + at, row >= 0);
  }
  if (layer.dtype != DataType::kInt8) return;
  for (int i = threadIdx.x; i < 2 * Shape::kKeys; i += kThreads) {
    const std::int64_t row = row_of(i % Shape::kKeys);
    const float* const from = i < Shape::kKeys ? layer.key_scales : layer.value_scales;
    copy_async_4(shared_address(scales + i), from + (row < 0 ? 0 : row), row >= 0);
  }
}

// A tile's codes, all that the block has, to rows of 16 bits: keys, then values.
template <class Code, class T, int kHeadDim>
__device__ void widen_tile(const std::uint8_t* codes, T* to) {
  using Wide = Tile<kHeadDim>;
  for (int i = threadIdx.x; i < 2 * Wide::kKeys * Wide::kPieces; i += kThreads) {
    const uint2 eight = *reinterpret_cast<const uint2*>(codes + i * 8);
    std::uint32_t low[2];
    std::uint32_t high[2];
    widen_codes<Code, T, CodeOrder::kRow>(eight.x, low);
    widen_codes<Code, T, CodeOrder::kRow>(eight.y, high);
    *reinterpret_cast<uint4*>(to + i / Wide::kPieces * Wide::kStride + i % Wide::kPieces * 8) =
        make_uint4(low[0], low[1], high[0], high[1]);
  }
}

// Scores or weights of the lane's keys times their scales.
template <int kScores>
__device__ void scale_columns(float (&scores)[kScores][4], const float* scales, int lane) {
#pragma unroll
  for (int n = 0; n < kScores; ++n) {
    const float2 two = *reinterpret_cast<const float2*>(scales + n * 8 + lane % 4 * 2);
#pragma unroll
    for (int i = 0; i < 4; ++i) scores[n][i] *= i % 2 == 0 ? two.x : two.y;
  }
}

// Over codes, which kind they are and whether scores have extras is asked at run time: it is asked
// once a tile.
template <class T, int kHeadDim, bool kExtras, bool kCodes>
__global__ void __launch_bounds__(kThreads)
    prefill_kernel(const __grid_constant__ AttentionLaunch l) {
  using Shape = Tile<kHeadDim>;
  using Codes = CodeTile<kHeadDim>;
  constexpr int kScores = Shape::kKeys / 8;  // fragments of 8 keys
  constexpr int kOutputs = kHeadDim / 8;
  extern __shared__ __align__(16) char memory[];
  T* const queries = reinterpret_cast<T*>(memory);
  T* const keys = queries + kRows * Shape::kStride;
  T* const values = keys + (kCodes ? 1 : kStages) * Shape::kKeys * Shape::kStride;

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
    return kCodes ? 0 : (tile - first_tile) % kStages * Shape::kKeys * Shape::kStride;
  };
  auto* const codes = reinterpret_cast<std::uint8_t*>(memory + Codes::kFirst);
  const auto scales = [&](std::int32_t tile) {
    return reinterpret_cast<float*>(codes + 2 * Codes::kCodes) +
           (tile - first_tile) % 2 * 2 * Shape::kKeys;
  };
  const auto load_next_codes = [&](std::int32_t tile) {
    load_codes<kHeadDim>(a.layer, codes, scales(tile), slot, tile * Shape::kKeys, top.begin,
                         bottom.end, kv_head);
  };
  if constexpr (kCodes)
    load_next_codes(first_tile);
  else
    load_tile<T, kHeadDim>(a.layer, keys, values, slot, first_tile * Shape::kKeys, top.begin,
                           bottom.end, kv_head);
  commit_copies();
  const bool scaled = kCodes && a.layer.dtype == DataType::kInt8;
  const bool extras = kExtras || (kCodes && has_score_extras(a));

  float sums[kOutputs][4] = {};
  RunningSoftmax softmax[2];
  const std::uint32_t query_address =
      shared_address(queries + (warp * 16 + lane % 16) * Shape::kStride + lane / 16 * 8);
  const int key_offset = ((lane & 7) + lane / 16 * 8) * Shape::kStride + (lane >> 3 & 1) * 8;
  const int value_offset = (lane & 15) * Shape::kStride + lane / 16 * 8;

  for (std::int32_t tile = first_tile; tile < end_tile; ++tile) {
    if constexpr (kCodes) {
      wait_copies<0>();
      __syncthreads();  // the codes are there, and nobody reads the tile in 16 bits
      if (scaled)
        widen_tile<Int8Code, T, kHeadDim>(codes, keys);
      else
        widen_tile<Float8Code, T, kHeadDim>(codes, keys);
      __syncthreads();
      if (tile + 1 < end_tile) load_next_codes(tile + 1);
      commit_copies();
    } else {
      if (tile + 1 < end_tile)
        load_tile<T, kHeadDim>(a.layer, keys + stage(tile + 1), values + stage(tile + 1), slot,
                               (tile + 1) * Shape::kKeys, top.begin, bottom.end, kv_head);
      commit_copies();
      wait_copies<1>();
      __syncthreads();
    }

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
    if (scaled) scale_columns(scores, scales(tile), lane);
    float largest[2] = {-INFINITY, -INFINITY};
#pragma unroll
    for (int n = 0; n < kScores; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const std::int32_t key = first + n * 8 + lane % 4 * 2 + (i & 1);
        const QueryRow& r = row[i / 2];
        float x = kCodes && extras ? exponent_of<true>(a, scores[n][i], r, key)
                                   : exponent_of<kExtras>(a, scores[n][i], r, key);
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

    if (scaled) scale_columns(scores, scales(tile) + Shape::kKeys, lane);
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
    if constexpr (!kCodes) __syncthreads();  // before the stage is filled again
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

template <class T, int kHeadDim, bool kExtras, bool kCodes>
void run_kernel(const AttentionLaunch& l) {
  const std::int32_t group = l.arguments.heads / l.arguments.kv_heads;
  const dim3 grid(static_cast<unsigned>(l.arguments.kv_heads),
                  static_cast<unsigned>((l.longest_chunk * group + kRows - 1) / kRows),
                  static_cast<unsigned>(l.sequences - l.first_sequence));
  const auto kernel = prefill_kernel<T, kHeadDim, kExtras, kCodes>;
  constexpr int kBytes = kCodes ? CodeTile<kHeadDim>::kBytes : Tile<kHeadDim>::kBytes;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes),
        "shared memory of attention");
  kernel<<<grid, kThreads, kBytes, l.stream>>>(l);
  check_launch("attention of context");
}

// In 16 bits: the type of cache and products, and whether scores are more than scaled products.
template <class T, bool kExtras>
struct Wide {
  template <int kHeadDim>
  static void run(const AttentionLaunch& l) {
    run_kernel<T, kHeadDim, kExtras, false>(l);
  }
};
struct Narrow {
  template <int kHeadDim>
  static void run(const AttentionLaunch& l) {
    run_kernel<__nv_bfloat16, kHeadDim, false, true>(l);
  }
};

template <class Kind>
void run(const AttentionLaunch& l) {
  switch (l.arguments.head_dim) {
    case 64: return Kind::template run<64>(l);
    case 80: return Kind::template run<80>(l);
    case 96: return Kind::template run<96>(l);
    case 128: return Kind::template run<128>(l);
    default: return Kind::template run<256>(l);
  }
}

}  // namespace

void launch_attention_prefill(const AttentionLaunch& l) {
  if (l.sequences <= l.first_sequence || l.longest_chunk < l.fewest_tokens) return;
  const bool extras = has_score_extras(l.arguments);
  const DataType cached = l.arguments.layer.dtype;
  if (size_of(cached) == 1)
    run<Narrow>(l);
  else if (cached == DataType::kFloat16)
    extras ? run<Wide<__half, true>>(l) : run<Wide<__half, false>>(l);
  else
    extras ? run<Wide<__nv_bfloat16, true>>(l) : run<Wide<__nv_bfloat16, false>>(l);
}

}  // namespace tenon::cuda
