// What becomes of a warpgroup's sums of a tile of matrix rows by rows of x: scale, bias,
// activation, rounding, and the place in the node's outputs.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cuda/device/activate.h"
#include "backends/cuda/device/element.h"
#include "backends/cuda/linear_widening.h"

namespace tenon::cuda {

/// The two rows of a tile that a thread has sums of: of a fragment's 16, rows g and g + 8. Gated:
/// gate's and up's rows of one output.
struct TileRows {
  int tile[2];    ///< rows of the tile, as its codes lie in shared memory
  int matrix[2];  ///< rows of the matrix; past the last, the last
  bool there[2];

  /// `thread` of the warpgroups' threads of one thread block that has tile `tile`.
  static __device__ __forceinline__ TileRows of(const GemvArguments& a, int tile, int thread) {
    constexpr int kRows = kWideningTileRows;
    const int warp = thread / 32;
    const int g = thread % 32 / 4;
    TileRows out;
    if (a.gated) {
      const int at = tile * (kRows / 2) + warp * 8 + g;
      out.tile[0] = warp * 8 + g;
      out.tile[1] = out.tile[0] + kRows / 2;
      out.there[0] = out.there[1] = at < a.up_begin;
      out.matrix[0] = min(at, a.up_begin - 1);
      out.matrix[1] = out.matrix[0] + a.up_begin;
    } else {
      for (int i = 0; i < 2; ++i) {
        out.tile[i] = warp * 16 + g + 8 * i;
        const int at = tile * kRows + out.tile[i];
        out.there[i] = at < a.rows;
        out.matrix[i] = min(at, a.rows - 1);
      }
    }
    return out;
  }
};

/// Writes what a thread has sums of: of its two rows of the matrix, with two rows of x at a time.
/// All lanes of a warp together.
struct TileFinish {
  const GemvArguments& a;
  bool pairs;  // of outputs side by side can be written at once
  bool odd;    // this thread's rows are the second of such pairs
  float scale[2] = {1.F, 1.F};
  float bias[2] = {0.F, 0.F};
  std::uint8_t* data[2] = {nullptr, nullptr};  // first row of x; null: nowhere
  DataType type[2];
  std::int64_t width[2];

  __device__ __forceinline__ TileFinish(const WideningArguments& arguments, const TileRows& rows)
      : a(arguments.linear), pairs(arguments.pairs), odd(threadIdx.x % 8 >= 4) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = rows.matrix[i];
      if (a.row_scale != nullptr) scale[i] = a.row_scale[row];
      if (a.bias != nullptr) bias[i] = a.bias[row];
      int s = 0;
      while (!a.gated && s + 1 < a.segments && row >= a.out[s + 1].begin) ++s;
      const GemvOutput& out = a.out[s];
      type[i] = out.type;
      width[i] = out.width;
      const std::int64_t column =
          row - (a.gated && i > 0 ? a.up_begin : 0) - out.begin - (pairs && odd ? 1 : 0);
      const int bytes = type[i] == DataType::kFloat32 ? 4 : 2;
      if (rows.there[i]) data[i] = static_cast<std::uint8_t*>(out.data) + column * bytes;
    }
  }

  /// Sums of the first row of the matrix with rows m and m + 1 of x, then of the second.
  __device__ __forceinline__ void put(std::int64_t m, float4 sums) const {
    float first[2] = {sums.x * scale[0] + bias[0], sums.y * scale[0] + bias[0]};
    const float second[2] = {sums.z * scale[1] + bias[1], sums.w * scale[1] + bias[1]};
    if (a.gated) {
#pragma unroll
      for (int j = 0; j < 2; ++j) first[j] = activate(a.kind, first[j]) * second[j];
    }
    write(0, m, first);
    if (!a.gated) write(1, m, second);
  }

 private:
  // Pairs: a thread and that of the next row each take one row of x, of both.
  __device__ __forceinline__ void write(int i, std::int64_t m, const float (&y)[2]) const {
    if (pairs) {
      const float other = __shfl_xor_sync(0xFFFFFFFFU, odd ? y[0] : y[1], 4);
      if (odd) ++m;
      if (data[i] == nullptr || m >= a.x_rows) return;
      const std::int64_t at = m * width[i];
      const float2 two = odd ? make_float2(other, y[1]) : make_float2(y[0], other);
      if (type[i] == DataType::kFloat32)
        *reinterpret_cast<float2*>(data[i] + at * 4) = two;
      else if (type[i] == DataType::kFloat16)
        *reinterpret_cast<__half2*>(data[i] + at * 2) = __float22half2_rn(two);
      else
        *reinterpret_cast<__nv_bfloat162*>(data[i] + at * 2) = __float22bfloat162_rn(two);
      return;
    }
    if (data[i] == nullptr) return;
#pragma unroll
    for (int j = 0; j < 2; ++j)
      if (m + j < a.x_rows) store(data[i], type[i], (m + j) * width[i], y[j]);
  }
};

/// Which parts a tile's sums come in. Chunks [tile * chunks, (tile + 1) * chunks) of all lie with
/// thread blocks `first` to `last`.
struct TileShares {
  int first;
  int last;
  static __device__ __forceinline__ TileShares of(const WideningArguments& a, int tile) {
    const std::int64_t begin = static_cast<std::int64_t>(tile) * a.linear.chunks;
    return {static_cast<int>(begin / a.share),
            static_cast<int>((begin + a.linear.chunks - 1) / a.share)};
  }
};

/// Where a thread block keeps its part of a tile: its share's first tile, or its last.
__device__ __forceinline__ float* part_of(const WideningArguments& a, int owner, bool begins,
                                          int width) {
  return a.parts +
         (static_cast<std::int64_t>(owner) * 2 + (begins ? 0 : 1)) * (width * kWideningTileRows);
}

}  // namespace tenon::cuda
