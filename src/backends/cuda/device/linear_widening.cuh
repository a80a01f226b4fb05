// The products of linear_widening.h: y^T = W x^T by m64nNk16 warpgroup products, W's codes widened
// to bfloat16 in registers, x in shared memory.
//
// A thread block has 128 rows of the matrix: two warpgroups of 64, and one warp that brings chunks
// (one 64-byte line of codes of each row, and x's columns of it) by bulk copies into a ring. A
// warpgroup widens 32 columns
// while the products of those before run. Every scale but groups' meets the sums; groups' scales
// meet the codes, which are then rounded to bfloat16.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cuda/cuda_api.h"
#include "backends/cuda/device/copy_async.cuh"
#include "backends/cuda/device/dequant.cuh"
#include "backends/cuda/device/hopper.cuh"
#include "backends/cuda/device/launch_early.cuh"
#include "backends/cuda/device/linear_finish.cuh"
#include "backends/cuda/device/warpgroup_product.cuh"

namespace tenon::cuda {

/// How groups' scales are applied to codes.
enum class GroupScale : std::uint8_t {
  kNone,
  kBFloat16,  ///< as they are
  kSplit,     ///< others, as the sum of two bfloat16, so that a product is rounded once
};

inline constexpr int kWideningThreads = 384;  // two warpgroups, and one of which a thread copies
inline constexpr int kWideningShared = 227 * 1024;

template <CodeKind kKind_, GroupScale kScale_, int kWidth_>
struct WideningForm {
  static constexpr CodeKind kKind = kKind_;
  static constexpr GroupScale kScale = kScale_;
  /// Taken off codes that have a minimum, beside their offset, and added to it times the scale.
  static constexpr std::uint32_t kCentre =
      kKind_ == CodeKind::kInt4 && kScale_ == GroupScale::kSplit ? 8 : 0;
  static constexpr int kWidth = kWidth_;  // rows of x
  static constexpr int kColumns = line_columns(kKind);
  static constexpr int kRuns = kColumns / 32;
  static constexpr int kCodeBytes = kWideningTileRows * 64;  // [row][64]
  static constexpr int kXBytes = kWidth * kColumns * 2;      // [64 columns][row][128], swizzled
  static constexpr int kStageBytes = kCodeBytes + kXBytes;
  static constexpr int kMostStages = (kWideningShared - 1024 - 256) / kStageBytes;
  static constexpr int kStages = kMostStages < 8 ? kMostStages : 8;
  static constexpr int kSharedBytes = kStages * (kStageBytes + 16) + 1024;
  static_assert(kStages >= 3);
};

/// Stages from `base`, a multiple of 1024, on: codes and x; then barriers.
template <class Form>
struct WideningRing {
  std::uint32_t base;
  __device__ std::uint32_t x(int stage) const { return base + stage * Form::kXBytes; }
  __device__ std::uint32_t codes(int stage) const {
    return base + Form::kStages * Form::kXBytes + stage * Form::kCodeBytes;
  }
  __device__ std::uint32_t full(int stage) const {
    return base + Form::kStages * Form::kStageBytes + stage * 8;
  }
  __device__ std::uint32_t free(int stage) const { return full(Form::kStages) + stage * 8; }
};

/// The chunks of a thread block.
struct WideningShare {
  std::int64_t begin;
  std::int64_t end;
  int owner;
  static __device__ __forceinline__ WideningShare of(const WideningArguments& a, int owner) {
    const std::int64_t all = static_cast<std::int64_t>(a.row_tiles) * a.column_tiles *
                             static_cast<std::int64_t>(a.linear.chunks);
    const std::int64_t begin = static_cast<std::int64_t>(owner) * a.share;
    return {begin, min(begin + a.share, all), owner};
  }
};

template <class Form>
struct WideningProducer {
  const WideningArguments& a;
  const CUtensorMap& codes_map;
  const CUtensorMap& x_map;
  WideningRing<Form> ring;
  std::int64_t end;

  struct Place {
    std::int64_t at;
    int tile;  // of all
    int chunk;
    int stage = 0;
    std::uint32_t parity = 0;
  };
  __device__ void advance(Place& p) const {
    ++p.at;
    if (++p.chunk == a.linear.chunks) {
      p.chunk = 0;
      ++p.tile;
    }
    if (++p.stage == Form::kStages) {
      p.stage = 0;
      p.parity ^= 1;
    }
  }
  __device__ void copy_codes(const Place& p) const {
    const std::uint32_t barrier = ring.full(p.stage);
    arrive_expecting(barrier, Form::kStageBytes);
    const int tile = p.tile / a.column_tiles;
    const std::uint32_t to = ring.codes(p.stage);
    if (a.linear.gated) {
      const int row = tile * (kWideningTileRows / 2);
      copy_box(to, codes_map, p.chunk * 64, row, barrier);
      copy_box(to + Form::kCodeBytes / 2, codes_map, p.chunk * 64, a.linear.up_begin + row,
               barrier);
    } else {
      copy_box(to, codes_map, p.chunk * 64, tile * kWideningTileRows, barrier);
    }
  }
  __device__ void copy_x(const Place& p) const {
    const std::uint32_t barrier = ring.full(p.stage);
    const int row = p.tile % a.column_tiles * Form::kWidth;
#pragma unroll
    for (int i = 0; i < Form::kColumns / 64; ++i)
      copy_box(ring.x(p.stage) + i * Form::kWidth * 128, x_map, p.chunk * Form::kColumns + i * 64,
               row, barrier);
  }
  __device__ void run(std::int64_t begin) const {
    const Place first{begin, static_cast<int>(begin / a.linear.chunks),
                      static_cast<int>(begin % a.linear.chunks)};
    Place p = first;  // the matrix does not wait for the launch before
    for (; p.at < end && p.at < begin + Form::kStages; advance(p)) copy_codes(p);
    wait_for_inputs();
    for (p = first; p.at < end && p.at < begin + Form::kStages; advance(p)) copy_x(p);
    for (; p.at < end; advance(p)) {
      wait_for(ring.free(p.stage), p.parity ^ 1U);
      copy_codes(p);
      copy_x(p);
    }
  }
};

/// Scales and minima of one row's chunk, as they lie in memory: of each run, or one for all.
template <class Form>
struct GroupWords {
  std::uint32_t scale[4];
  std::uint32_t minimum[4];

  static __device__ __forceinline__ void read(const void* from, std::int64_t entry, bool wide,
                                              bool all, std::uint32_t (&to)[4]) {
    if (wide) {
      const auto* const at = static_cast<const std::uint32_t*>(from) + entry;
      if (all) {
        to[0] = *at;
      } else if constexpr (Form::kRuns == 4) {
        const uint4 four = *reinterpret_cast<const uint4*>(at);
        to[0] = four.x, to[1] = four.y, to[2] = four.z, to[3] = four.w;
      } else {
        const uint2 two = *reinterpret_cast<const uint2*>(at);
        to[0] = two.x, to[1] = two.y;
      }
      return;
    }
    const auto* const at = static_cast<const std::uint16_t*>(from) + entry;
    if (all) {
      to[0] = *at;
    } else if constexpr (Form::kRuns == 4) {
      const uint2 two = *reinterpret_cast<const uint2*>(at);
      to[0] = two.x, to[1] = two.y;
    } else {
      to[0] = *reinterpret_cast<const std::uint32_t*>(at);
    }
  }
  /// As fp32, one of each run. What depends on the matrix' form is done with here: a branch between
  /// products would keep them apart.
  static __device__ __forceinline__ void widen(const PackedMatrix& m, std::uint32_t (&words)[4]) {
    const bool all = m.step == ScaleStep::kLine;
    if (m.scale_type == DataType::kFloat32) {
      if (all) words[1] = words[2] = words[3] = words[0];
      return;
    }
    const std::uint32_t low = all ? __byte_perm(words[0], 0, 0x1010) : words[0];
    const std::uint32_t high = all ? low : words[1];
    const float2 first = __half22float2(reinterpret_cast<const __half2&>(low));
    const float2 second = __half22float2(reinterpret_cast<const __half2&>(high));
    words[0] = __float_as_uint(first.x);
    words[1] = __float_as_uint(first.y);
    words[2] = __float_as_uint(second.x);
    words[3] = __float_as_uint(second.y);
  }
  __device__ __forceinline__ void widen(const PackedMatrix& m) {
    widen(m, scale);
    if (m.minimum == nullptr) {
      minimum[0] = minimum[1] = minimum[2] = minimum[3] = 0;
      return;
    }
    widen(m, minimum);
    // Of codes less kCentre: a minimum is about as far below zero as the largest weight is above,
    // and rounding it to bfloat16 would cost the small weights more than their own rounding.
    constexpr float kFactor = static_cast<float>(Form::kCentre);
#pragma unroll
    for (int run = 0; run < 4; ++run)
      minimum[run] = __float_as_uint(
          fmaf(kFactor, __uint_as_float(scale[run]), __uint_as_float(minimum[run])));
  }
  __device__ __forceinline__ void read(const PackedMatrix& m, int row, int chunk) {
    const bool all = m.step == ScaleStep::kLine;
    const bool wide = m.scale_type == DataType::kFloat32;
    const int group = all ? (chunk * Form::kColumns / 128) >> m.line_shift : chunk * Form::kRuns;
    const std::int64_t entry = static_cast<std::int64_t>(row) * m.scale_stride + group;
    read(m.scale, entry, wide, all, scale);
    if (m.minimum != nullptr) read(m.minimum, entry, wide, all, minimum);
  }
};

__device__ __forceinline__ std::uint32_t multiply_add_pairs(std::uint32_t a, std::uint32_t b,
                                                            std::uint32_t c) {
  return bits_of(__hfma2(reinterpret_cast<const __nv_bfloat162&>(a),
                         reinterpret_cast<const __nv_bfloat162&>(b),
                         reinterpret_cast<const __nv_bfloat162&>(c)));
}
/// One run's scale and minimum of one row, twice in a word each.
struct RunScale {
  std::uint32_t high = 0;
  std::uint32_t low = 0;  // what `high` rounds away
  std::uint32_t minimum = 0;
};

template <class Form>
__device__ __forceinline__ RunScale run_scale(const PackedMatrix& m, const GroupWords<Form>& words,
                                              int run) {
  RunScale out;
  if constexpr (Form::kScale == GroupScale::kBFloat16) {
    const bool all = m.step == ScaleStep::kLine;
    const auto twice = [&](const std::uint32_t(&from)[4]) {
      return all ? __byte_perm(from[0], 0, 0x1010)
                 : __byte_perm(from[run / 2], 0, run % 2 == 0 ? 0x1010 : 0x3232);
    };
    out.high = twice(words.scale);
    if (m.minimum != nullptr) out.minimum = twice(words.minimum);
  } else if constexpr (Form::kScale == GroupScale::kSplit) {
    const float scale = __uint_as_float(words.scale[run]);
    const float minimum = __uint_as_float(words.minimum[run]);
    out.high = bits_of(__floats2bfloat162_rn(scale, scale));
    const float low = scale - __uint_as_float(out.high & 0xFFFF0000U);
    out.low = bits_of(__floats2bfloat162_rn(low, low));
    out.minimum = bits_of(__floats2bfloat162_rn(minimum, minimum));
  }
  return out;
}

template <class Form>
struct WideningConsumer {
  static constexpr int kSums = Form::kWidth / 2;
  const WideningArguments& a;
  WideningRing<Form> ring;
  int thread;  // of the warpgroups'
  int lane;
  std::uint32_t offset;  // two bfloat16
  TileRows rows;
  float sums[kSums];
  // Of every run apart: a compiler lets products run on only where nothing writes what they read.
  std::uint32_t operands[Form::kRuns][2][4];  // [run][16 columns]

  __device__ __forceinline__ void widen(const uint4 (&codes)[2], const GroupWords<Form> (&words)[2],
                                        int run, std::uint32_t (&to)[2][4]) const {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      std::uint32_t pairs[4];
      Unpack<Form::kKind>::run(codes[i], run, pairs);
      const RunScale scale = run_scale(a.linear.matrix, words[i], run);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        if constexpr (Form::kKind == CodeKind::kInt4) pairs[j] = subtract_pairs(pairs[j], offset);
        if constexpr (Form::kScale == GroupScale::kBFloat16)
          pairs[j] = multiply_add_pairs(pairs[j], scale.high, scale.minimum);
        if constexpr (Form::kScale == GroupScale::kSplit)
          pairs[j] = multiply_add_pairs(pairs[j], scale.high,
                                        multiply_add_pairs(pairs[j], scale.low, scale.minimum));
        to[j / 2][j % 2 * 2 + i] = pairs[j];
      }
    }
  }
  __device__ __forceinline__ void read_scales(int chunk, GroupWords<Form> (&words)[2]) const {
    if constexpr (Form::kScale != GroupScale::kNone) {
#pragma unroll
      for (int i = 0; i < 2; ++i) words[i].read(a.linear.matrix, rows.matrix[i], chunk);
    }
  }
  __device__ __forceinline__ uint4 read_codes(int stage, int i) const {
    uint4 out;
    asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out.x), "=r"(out.y), "=r"(out.z), "=r"(out.w)
                 : "r"(ring.codes(stage) + rows.tile[i] * 64 + lane % 4 * 16)
                 : "memory");
    return out;
  }
  /// Its stage may be filled again, as far as this warp is concerned.
  __device__ __forceinline__ void release(int stage) const {
    __syncwarp();
    if (lane == 0) arrive(ring.free(stage));
  }

  __device__ __forceinline__ void run(const WideningShare& share) {
    int stage = 0;
    std::uint32_t parity = 0;
    const int chunks = a.linear.chunks;
    for (std::int64_t at = share.begin; at < share.end;) {
      const int tile = static_cast<int>(at / chunks);
      const int first = static_cast<int>(at - static_cast<std::int64_t>(tile) * chunks);
      const int last =
          static_cast<int>(min(static_cast<std::int64_t>(chunks), first + share.end - at));
      const int matrix_tile = tile / a.column_tiles;
      rows = TileRows::of(a.linear, matrix_tile, thread);
      GroupWords<Form> next[2];
      read_scales(first, next);
#pragma unroll 1
      for (int chunk = first; chunk < last; ++chunk) {
        GroupWords<Form> words[2];
        words[0] = next[0];
        words[1] = next[1];
        if constexpr (Form::kScale == GroupScale::kSplit) {
          words[0].widen(a.linear.matrix);
          words[1].widen(a.linear.matrix);
        }
        if (chunk + 1 < last) read_scales(chunk + 1, next);
        wait_for(ring.full(stage), parity);
        const uint4 codes[2] = {read_codes(stage, 0), read_codes(stage, 1)};
#pragma unroll
        for (int run = 0; run < Form::kRuns; ++run) {
          auto& operand_of_run = operands[run];
          widen(codes, words, run, operand_of_run);
#pragma unroll
          for (auto& four : operand_of_run)  // there before the products, not between them
            asm volatile("" : "+r"(four[0]), "+r"(four[1]), "+r"(four[2]), "+r"(four[3]));
          begin_products();
#pragma unroll
          for (int k = 0; k < 2; ++k) {
            const std::uint32_t x =
                ring.x(stage) + run / 2 * (Form::kWidth * 128) + run % 2 * 64 + k * 32;
            multiply_rows(sums, operand_of_run[k], operand(x, 0),
                          chunk > first || run > 0 || k > 0);
          }
          commit_products();
          wait_products<1>();
        }
        // Nothing reads the chunk before any more. Not after the first run, where that is so
        // already: a branch between products makes the compiler wait for each of them.
        if (chunk > first) release(stage == 0 ? Form::kStages - 1 : stage - 1);
        if (++stage == Form::kStages) {
          stage = 0;
          parity ^= 1;
        }
      }
      wait_products<0>();
      release(stage == 0 ? Form::kStages - 1 : stage - 1);
      at += last - first;
      if (last - first == chunks)
        finish(tile);
      else
        keep(part_of(a, share.owner, at - (last - first) == share.begin, Form::kWidth));
    }
  }

  /// Four eights of x's rows in a turn: all at once would be more code than caches hold.
  __device__ __forceinline__ void finish(int tile) {
    constexpr int kEights = 4;
    const TileFinish out(a, rows);
    std::int64_t m = static_cast<std::int64_t>(tile % a.column_tiles) * Form::kWidth + lane % 4 * 2;
#pragma unroll 1
    for (int turn = 0; turn < Form::kWidth / 8 / kEights; ++turn) {
#pragma unroll
      for (int n = 0; n < kEights; ++n, m += 8)
        out.put(m, make_float4(sums[4 * n], sums[4 * n + 1], sums[4 * n + 2], sums[4 * n + 3]));
#pragma unroll
      for (int i = 0; i + 4 * kEights < kSums; ++i) sums[i] = sums[i + 4 * kEights];
    }
  }
  __device__ __forceinline__ void keep(float* part) const {
    auto* const to = reinterpret_cast<float4*>(part) + thread;
#pragma unroll
    for (int n = 0; n < Form::kWidth / 8; ++n)
      to[n * 2 * kWideningTileRows] =
          make_float4(sums[4 * n], sums[4 * n + 1], sums[4 * n + 2], sums[4 * n + 3]);
  }
};

template <class Form>
__global__ void __launch_bounds__(kWideningThreads, 1)
    widening_kernel(const __grid_constant__ WideningArguments a,
                    const __grid_constant__ CUtensorMap codes_map,
                    const __grid_constant__ CUtensorMap x_map) {
  extern __shared__ char memory[];
  let_next_start();
  const WideningRing<Form> ring{(shared_address(memory) + 1023U) & ~1023U};
  const WideningShare share = WideningShare::of(a, static_cast<int>(blockIdx.x));
  if (threadIdx.x == 0) {
    prefetch_map(codes_map);
    prefetch_map(x_map);
    for (int stage = 0; stage < Form::kStages; ++stage) {
      init_barrier(ring.full(stage), 1);
      init_barrier(ring.free(stage), 2 * 4);  // warps
    }
    publish_barriers();
  }
  __syncthreads();
  const int warpgroup = __shfl_sync(0xFFFFFFFFU, static_cast<int>(threadIdx.x) / 128, 0);
  if (warpgroup == 2) {
    give_registers<40>();
    if (threadIdx.x % 128 == 0) {
      const WideningProducer<Form> producer{a, codes_map, x_map, ring, share.end};
      producer.run(share.begin);
    }
    __syncwarp();
  } else {
    take_registers<232>();
    const std::uint32_t offset =
        a.linear.matrix.code_offset + (a.linear.matrix.minimum != nullptr ? Form::kCentre : 0U);
    WideningConsumer<Form> consumer{a, ring, static_cast<int>(threadIdx.x),
                                    static_cast<int>(threadIdx.x) % 32, offset << 16 | offset};
    wait_for_inputs();
    consumer.run(share);
  }
}

template <class Form>
void launch_widening_form(const WideningArguments& a, const WideningMaps& maps,
                          const WideningPlan& plan, cudaStream_t stream) {
  const auto kernel = widening_kernel<Form>;
  launch_early(kernel, "linear_widening", dim3(static_cast<unsigned>(plan.blocks)),
               kWideningThreads, Form::kSharedBytes, true, stream, a, maps.codes, maps.x);
}

template <CodeKind kKind, GroupScale kScale>
void launch_widening_widths(const WideningArguments& a, const WideningMaps& maps,
                            const WideningPlan& plan, cudaStream_t stream) {
  switch (plan.width) {
    case 64: return launch_widening_form<WideningForm<kKind, kScale, 64>>(a, maps, plan, stream);
    case 96: return launch_widening_form<WideningForm<kKind, kScale, 96>>(a, maps, plan, stream);
    case 128: return launch_widening_form<WideningForm<kKind, kScale, 128>>(a, maps, plan, stream);
    case 192: return launch_widening_form<WideningForm<kKind, kScale, 192>>(a, maps, plan, stream);
    default: return launch_widening_form<WideningForm<kKind, kScale, 256>>(a, maps, plan, stream);
  }
}

}  // namespace tenon::cuda
