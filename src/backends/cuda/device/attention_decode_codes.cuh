// Decode attention over a cache in 8 bits. Codes go to shared memory as they are; each is widened
// to float16 once, on its way into a product, and the lanes that hold neighbouring codes choose
// which features and which columns of a product they stand for, so that nothing is moved for it.
// Products are in float16, to which an E4M3 code goes in half an instruction: a row of queries,
// which are bfloat16, is brought into its range by a power of two.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cuda/device/attention_codes.cuh"
#include "backends/cuda/device/attention_decode.cuh"

namespace tenon::cuda::attention_decode {

template <int kHeadDim, int kMostRows>
struct CodeStage {  // of one warp: keys, values, then the scales of both
  using Element = std::uint8_t;
  static constexpr int kStride =
      kHeadDim / 16 % 2 == 1 ? kHeadDim : kHeadDim + 16;  // no bank twice
  static constexpr int kScales = 2 * kTokens * kStride;
  static constexpr int kTileBytes = kScales + 2 * kTokens * 4;
  static constexpr int kSumBytes = kMostRows * kHeadDim * 4;  // lie in the stage read last
  static constexpr int kBytes = kTileBytes > kSumBytes ? kTileBytes : kSumBytes;
  static constexpr int kElements = kBytes;
  // As much under way as with 16 bits, of what one of two blocks (of one, where heads are wide)
  // has.
  static constexpr int kRoom = (kHeadDim > 128 ? 200 : 96) * 1024 / (kWarps * kBytes);
  static constexpr int kCount = kRoom < 8 ? kRoom : 8;
  static_assert(kCount >= 3 && kBytes % 16 == 0);
};

template <class Code, int kHeadDim, int kMostRows>
struct DecodeCodes : DecodeBlock<CodeStage<kHeadDim, kMostRows>, kHeadDim, kMostRows> {
  using Base = DecodeBlock<CodeStage<kHeadDim, kMostRows>, kHeadDim, kMostRows>;
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
  static constexpr int kChunks = kHeadDim / 16;  // of 16 codes

  /// Queues the warp's tokens of the tile into a stage.
  __device__ void load(const DecodeWalk& w, int stage) const {
    const std::int32_t place = first_place(w) + lane % kTokens;
    const bool valid = place >= w.sequence.span.begin && place < w.sequence.span.end;
    const std::int32_t own =
        valid ? static_cast<std::int32_t>(cache_row(a.layer, w.sequence.slot, place, kv_head(w)))
              : -1;
    const std::uint32_t to = shared_address(stages + stage * Stage::kElements);
#pragma unroll
    for (int i = 0; i < (kTokens * kChunks + 31) / 32; ++i) {
      const int index = i * 32 + lane;
      const int token = index / kChunks % kTokens;
      const int piece = index % kChunks * 16;
      const std::int32_t row = __shfl_sync(0xFFFFFFFFU, own, token);
      if (kTokens * kChunks % 32 != 0 && index >= kTokens * kChunks) continue;
      const std::int64_t at = row < 0 ? 0 : static_cast<std::int64_t>(row) * kHeadDim + piece;
      const std::uint32_t into = to + token * Stage::kStride + piece;
      copy_async(into, static_cast<const std::uint8_t*>(a.layer.keys) + at, row >= 0);
      copy_async(into + kTokens * Stage::kStride,
                 static_cast<const std::uint8_t*>(a.layer.values) + at, row >= 0);
    }
    if constexpr (Code::kScaled) {  // of keys by one half of the warp, of values by the other
      const float* const scales = lane < kTokens ? a.layer.key_scales : a.layer.value_scales;
      copy_async_4(to + Stage::kScales + lane * 4, scales + (own < 0 ? 0 : own), own >= 0);
    }
  }

  /// Query fragments of a pair. A lane's columns of a product are four neighbouring features, as it
  /// gets them of the keys. Those of wide heads with many rows are read again for every tile.
  static constexpr bool kKeepsQueries = kHeadDim <= 128 || kMostRows <= 8;
  static constexpr bool kQueriesAhead = false;  // their size is found first
  struct Queries {
    std::uint32_t fragments[kKeepsQueries ? kChunks : 1][4];
    float factor[kHalves];  // queries were multiplied with
    float unit[kHalves];    // what makes scores of products
  };
  __device__ void start_pair(const DecodeWalk& w, Queries& q) const {
    float largest[kHalves] = {};
#pragma unroll
    for (int k = 0; k < kChunks; ++k)
#pragma unroll
      for (int half = 0; half < kHalves; ++half) {
        const float4 x = query(w, k, half);
        largest[half] = fmaxf(fmaxf(largest[half], fmaxf(fabsf(x.x), fabsf(x.y))),
                              fmaxf(fabsf(x.z), fabsf(x.w)));
      }
#pragma unroll
    for (int half = 0; half < kHalves; ++half) {
      const HalfRange range(quad_max(largest[half]));
      q.factor[half] = range.factor;
      q.unit[half] = range.unit;
    }
    if constexpr (kKeepsQueries) {
#pragma unroll
      for (int k = 0; k < kChunks; ++k) load_queries(w, k, q, q.fragments[k]);
    }
  }
  __device__ void load_queries(const DecodeWalk& w, int chunk, const Queries& q,
                               std::uint32_t (&fragment)[4]) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      fragment[half] = fragment[half + 2] = 0;
      if (half >= kHalves) continue;
      const float4 x = query(w, chunk, half);
      const float factor = q.factor[half < kHalves ? half : 0];
      fragment[half] = pack<__half>(x.x * factor, x.y * factor);
      fragment[half + 2] = pack<__half>(x.z * factor, x.w * factor);
    }
  }
  /// Four neighbouring features of the lane's row; zeros past the last head.
  __device__ float4 query(const DecodeWalk& w, int chunk, int half) const {
    const int row = lane / 4 + half * 8;
    if (row >= rows(w)) return make_float4(0.F, 0.F, 0.F, 0.F);
    const std::int64_t at =
        (static_cast<std::int64_t>(w.sequence.token) * a.heads + first_head(w) + row) * kHeadDim +
        chunk * 16 + lane % 4 * 4;
    const uint2 raw = *reinterpret_cast<const uint2*>(static_cast<const __nv_bfloat16*>(l.q) + at);
    const float2 low = __bfloat1622float2(reinterpret_cast<const __nv_bfloat162&>(raw.x));
    const float2 high = __bfloat1622float2(reinterpret_cast<const __nv_bfloat162&>(raw.y));
    return make_float4(low.x, low.y, high.x, high.y);
  }

  /// Of a unit. Sums of scaled codes are in units of the largest scale so far, which makes their
  /// weights at most 1.
  struct Softmax {
    RunningSoftmax rows[2];
    float value_scale;
  };
  __device__ static void clear(Softmax& softmax) {
    softmax.rows[0] = softmax.rows[1] = {};
    softmax.value_scale = 0.F;
  }

  /// One tile of the warp: its 16 tokens into the running sums.
  __device__ void multiply_tile(const DecodeWalk& w, int stage, Queries& q,
                                float (&sums)[kOutputs][4], Softmax& softmax) const {
    const std::uint8_t* const keys = stages + stage * Stage::kElements;
    const float* const scales = reinterpret_cast<const float*>(keys + Stage::kScales);
    // A matrix is 16 codes of 8 tokens: tokens 0 to 7, 8 to 15, then the same of the next codes.
    const std::uint32_t first_codes =
        shared_address(keys + ((lane & 7) + (lane >> 3 & 1) * 8) * Stage::kStride);
    const std::uint32_t next_codes = lane / 16 * 16;
    float scores[2][4] = {};
    multiply_keys(w, first_codes, next_codes, q, scores);

    float value_scale[2][2];  // what a weight is multiplied with
    float shrink_values = 1.F;
    if constexpr (Code::kScaled)
      shrink_values = take_value_scales(scales + kTokens, softmax, value_scale);
    const bool extras = has_score_extras(a);
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
          x *= q.unit[half];
          if constexpr (Code::kScaled) x *= scales[n * 8 + lane % 4 * 2 + i];
          x = extras ? exponent_of<true>(a, x, row, key) : exponent_of<false>(a, x, row, key);
          if (key < w.sequence.span.begin || key >= w.sequence.span.end) x = -INFINITY;
          largest = fmaxf(largest, x);
        }
      float base;
      const float shrink = softmax.rows[half].raise(quad_max(largest), base) * shrink_values;
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
          softmax.rows[half].total += x;
          if constexpr (Code::kScaled) x *= value_scale[n][i];
        }
    }
    const std::uint32_t p[4] = {pack<__half>(scores[0][0], scores[0][1]),
                                kHalves > 1 ? pack<__half>(scores[0][2], scores[0][3]) : 0U,
                                pack<__half>(scores[1][0], scores[1][1]),
                                kHalves > 1 ? pack<__half>(scores[1][2], scores[1][3]) : 0U};
    multiply_values(first_codes + kTokens * Stage::kStride, next_codes, p, sums);
  }

  /// The warp's sums of a unit into the stage that it read last, and to the block's table.
  __device__ void publish(float* to, Shared& shared, const float (&sums)[kOutputs][4],
                          const Softmax& softmax) const {
    const float scale = Code::kScaled ? softmax.value_scale : 1.F;
#pragma unroll
    for (int half = 0; half < kHalves; ++half) {
      const int row = lane / 4 + 8 * half;
      const float total = quad_sum(softmax.rows[half].total);
      if (lane % 4 == 0) {
        shared.largest[warp][row] = softmax.rows[half].largest;
        shared.total[warp][row] = total;
      }
#pragma unroll
      for (int chunk = 0; chunk < kChunks; ++chunk) {
        const auto& even = sums[2 * chunk];
        const auto& odd = sums[2 * chunk + 1];
        *reinterpret_cast<float4*>(to + row * kHeadDim + chunk * 16 + lane % 4 * 4) =
            make_float4(even[2 * half] * scale, odd[2 * half] * scale, even[2 * half + 1] * scale,
                        odd[2 * half + 1] * scale);
      }
    }
  }

 private:
  /// Two chunks of all 16 tokens at a time; of an odd number of chunks, the last one twice.
  __device__ static std::uint32_t codes_at(std::uint32_t first, std::uint32_t next, int chunk) {
    return first + chunk * 16 + (chunk + 1 < kChunks ? next : 0U);
  }

  __device__ void multiply_keys(const DecodeWalk& w, std::uint32_t first, std::uint32_t next,
                                Queries& q, float (&scores)[2][4]) const {
#pragma unroll
    for (int chunk = 0; chunk < kChunks; chunk += 2) {
      std::uint32_t codes[4];
      load_matrices(codes, codes_at(first, next, chunk));
#pragma unroll
      for (int k = chunk; k < chunk + 2 && k < kChunks; ++k) {
        if constexpr (!kKeepsQueries) load_queries(w, k, q, q.fragments[0]);
        const auto& fragment = q.fragments[kKeepsQueries ? k : 0];
#pragma unroll
        for (int n = 0; n < 2; ++n) {
          std::uint32_t b[2];
          widen_codes<Code, __half, CodeOrder::kRow>(codes[(k - chunk) * 2 + n], b);
          multiply<__half>(scores[n], fragment, b[0], b[1]);
        }
      }
    }
  }

  /// Columns of the products: the even features of a chunk, then the odd ones.
  __device__ static void multiply_values(std::uint32_t first, std::uint32_t next,
                                         const std::uint32_t (&p)[4], float (&sums)[kOutputs][4]) {
#pragma unroll
    for (int chunk = 0; chunk < kChunks; chunk += 2) {
      std::uint32_t codes[4];
      load_transposed(codes, codes_at(first, next, chunk));
#pragma unroll
      for (int k = chunk; k < chunk + 2 && k < kChunks; ++k) {
        std::uint32_t low[2];  // tokens 0 to 7
        std::uint32_t high[2];
        widen_codes<Code, __half, CodeOrder::kColumns>(codes[(k - chunk) * 2], low);
        widen_codes<Code, __half, CodeOrder::kColumns>(codes[(k - chunk) * 2 + 1], high);
        multiply<__half>(sums[2 * k], p, low[0], high[0]);
        multiply<__half>(sums[2 * k + 1], p, low[1], high[1]);
      }
    }
  }

  /// Gives what the sums so far must be multiplied with. Scales too small to be divided by count
  /// as zero.
  __device__ float take_value_scales(const float* from, Softmax& softmax,
                                     float (&scale)[2][2]) const {
    float most = 0.F;
#pragma unroll
    for (int n = 0; n < 2; ++n)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        scale[n][i] = from[n * 8 + lane % 4 * 2 + i];
        most = fmaxf(most, scale[n][i]);
      }
    const float next = fmaxf(softmax.value_scale, quad_max(most));
    const float inverse = next > 1e-37F ? __frcp_rn(next) : 0.F;
#pragma unroll
    for (int n = 0; n < 2; ++n)
#pragma unroll
      for (int i = 0; i < 2; ++i) scale[n][i] *= inverse;
    const float shrink = softmax.value_scale * inverse;
    softmax.value_scale = next;
    return shrink;
  }
};

}  // namespace tenon::cuda::attention_decode
