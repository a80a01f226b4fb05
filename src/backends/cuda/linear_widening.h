// linear_widening: products of a middle number of rows of x with a packed matrix of narrow codes on
// Hopper's warpgroup products, without a copy of the matrix in 16 bits: codes are widened to
// bfloat16 in registers, on their way from shared memory to the tensor cores.
//
// Three launches: x's columns into the order that codes have in their lines, the products, and,
// where a tile of outputs was shared by several thread blocks, the sum of their parts.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda.h>

#include "backends/cuda/linear_stream.h"

namespace tenon::cuda {

inline constexpr int kWideningTileRows = 128;       ///< rows of the matrix that a thread block has
inline constexpr std::int64_t kWideningRows = 512;  ///< of x, at most

/// Bytes from one row of x to the next in workspace: whole lines of any kind of code.
constexpr std::int64_t widening_x_bytes(std::int64_t columns) {
  return (columns + 127) / 128 * 256;
}

struct WideningArguments {
  GemvArguments linear;           ///< `x` in the codes' order, in workspace; `chunks` of one line
  float* parts = nullptr;         ///< [thread block][2][width * kWideningTileRows]
  std::int32_t column_tiles = 1;  ///< tiles of x's rows
  std::int32_t row_tiles = 1;     ///< tiles of the matrix' rows
  /// All chunks of all tiles (the matrix' tile, then x's, then chunks) are shared out to thread
  /// blocks in order: so many to each.
  std::int32_t share = 0;
  bool pairs =
      false;  ///< outputs 2 i and 2 i + 1 are in one segment, side by side at an even place
};

struct WideningPlan {
  int width = 128;     ///< rows of x of a tile: 64, 96, 128, 192 or 256
  int share = 0;       ///< chunks
  int blocks = 0;      ///< launched
  bool parts = false;  ///< some tile is shared
};

/// Whether matrices of this form can go this way on this device.
bool widening_serves(const PackedMatrix& form, const DeviceFeatures& features);
/// Of workspace, for up to `rows` rows of x.
std::int64_t widening_workspace(std::int64_t columns, std::int64_t rows);

/// `multiprocessors`: another number than the device has, where it is given.
WideningPlan plan_widening(const GemvArguments& a, const DeviceFeatures& features,
                           int multiprocessors = 0);
void launch_widening(const GemvArguments& a, const WideningPlan& plan, std::byte* workspace,
                     cudaStream_t stream);

// One a file of forms.
struct WideningMaps {
  CUtensorMap codes;
  CUtensorMap x;
};
void launch_widening_8bit(const WideningArguments& a, const WideningMaps& maps,
                          const WideningPlan& plan, cudaStream_t stream);
void launch_widening_4bit(const WideningArguments& a, const WideningMaps& maps,
                          const WideningPlan& plan, cudaStream_t stream);
/// x[rows, columns] to `to`, rows of widening_x_bytes().
void launch_widening_columns(const void* x, std::int64_t rows, std::int64_t columns, void* to,
                             cudaStream_t stream);
/// Adds the parts of shared tiles and finishes them.
void launch_widening_sums(const WideningArguments& a, const WideningPlan& plan,
                          cudaStream_t stream);

}  // namespace tenon::cuda
