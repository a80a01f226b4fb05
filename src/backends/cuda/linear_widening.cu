// Before and after the widening products: x's columns in the codes' order, and sums of parts.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/cuda_api.h"
#include "backends/cuda/device/launch_early.cuh"
#include "backends/cuda/device/linear_finish.cuh"

namespace tenon::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kPartEights = 2;  // of rows of x, that a thread of the sums has

// A lane of a quad has columns 8 t … 8 t + 7 of 32 as four pairs of codes, of which a product takes
// pairs 0 and 1, the next 2 and 3, as columns 2 t, 2 t + 1 and 8 + 2 t, 9 + 2 t of its 16: so pair
// 4 t + j of x comes to place 4 j + t.
__global__ void __launch_bounds__(kThreads)
    columns_kernel(const std::uint8_t* x, std::int64_t rows, std::int32_t columns,
                   std::int32_t runs, std::uint8_t* to) {
  let_next_start();
  const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const std::int64_t row = at / runs;
  const auto run = static_cast<std::int32_t>(at - row * runs);
  wait_for_inputs();
  if (row >= rows) return;
  uint4 words[4];
#pragma unroll
  for (int t = 0; t < 4; ++t) {
    const std::int32_t column = run * 32 + t * 8;
    words[t] = make_uint4(0, 0, 0, 0);
    if (column < columns)
      words[t] = *reinterpret_cast<const uint4*>(x + (row * columns + column) * 2);
  }
  auto* const out = reinterpret_cast<uint4*>(to + row * (runs * std::int64_t{64}) + run * 64);
  out[0] = make_uint4(words[0].x, words[1].x, words[2].x, words[3].x);
  out[1] = make_uint4(words[0].y, words[1].y, words[2].y, words[3].y);
  out[2] = make_uint4(words[0].z, words[1].z, words[2].z, words[3].z);
  out[3] = make_uint4(words[0].w, words[1].w, words[2].w, words[3].w);
}

// A thread block has some rows of x of a tile; its threads have what those of the products have.
__global__ void __launch_bounds__(2 * kWideningTileRows)
    sums_kernel(const __grid_constant__ WideningArguments a, int width) {
  let_next_start();
  const int tile = static_cast<int>(blockIdx.x);
  const TileShares shares = TileShares::of(a, tile);
  if (shares.first == shares.last) return;  // finished
  const TileRows rows =
      TileRows::of(a.linear, tile / a.column_tiles, static_cast<int>(threadIdx.x));
  const TileFinish out(a, rows);
  wait_for_inputs();
  float4 sums[kPartEights];
#pragma unroll
  for (float4& sum : sums) sum = make_float4(0.F, 0.F, 0.F, 0.F);
  const int first = static_cast<int>(blockIdx.y) * kPartEights;
#pragma unroll 4
  for (int owner = shares.first; owner <= shares.last; ++owner) {
    const bool begins = static_cast<std::int64_t>(owner) * a.share >=
                        static_cast<std::int64_t>(tile) * a.linear.chunks;
    const auto* const part =
        reinterpret_cast<const float4*>(part_of(a, owner, begins, width)) + threadIdx.x;
#pragma unroll
    for (int i = 0; i < kPartEights; ++i) {
      const float4 one = part[(first + i) * 2 * kWideningTileRows];
      sums[i].x += one.x;
      sums[i].y += one.y;
      sums[i].z += one.z;
      sums[i].w += one.w;
    }
  }
#pragma unroll
  for (int i = 0; i < kPartEights; ++i) {
    const std::int64_t m = static_cast<std::int64_t>(tile % a.column_tiles) * width +
                           (first + i) * 8 + threadIdx.x % 4 * 2;
    out.put(m, sums[i]);
  }
}

}  // namespace

void launch_widening_columns(const void* x, std::int64_t rows, std::int64_t columns, void* to,
                             cudaStream_t stream) {
  const auto runs = static_cast<std::int32_t>(widening_x_bytes(columns) / 64);
  const std::int64_t blocks = (rows * runs + kThreads - 1) / kThreads;
  launch_early(columns_kernel, "linear_widening columns", dim3(static_cast<unsigned>(blocks)),
               kThreads, 0, true, stream, static_cast<const std::uint8_t*>(x), rows,
               static_cast<std::int32_t>(columns), runs, static_cast<std::uint8_t*>(to));
}

void launch_widening_sums(const WideningArguments& a, const WideningPlan& plan,
                          cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(a.row_tiles * a.column_tiles),
                  static_cast<unsigned>(plan.width / 8 / kPartEights));
  launch_early(sums_kernel, "linear_widening sums", grid, 2 * kWideningTileRows, 0, true, stream, a,
               plan.width);
}

}  // namespace tenon::cuda
