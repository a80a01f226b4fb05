// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/linear_widening.h"

#include <algorithm>
#include <array>

#include "backends/cuda/tensor_map.h"
#include "core/check.h"

namespace tenon::cuda {
namespace {

constexpr int kMostBlocks = 144;  // whose parts workspace has room for: no Hopper has more
constexpr int kUsualCluster = 2;
constexpr std::array kWidths = {64, 96, 128, 192, 256};  // of tiles of x's rows
// What a plan counts with, for an H200; only the order of plans matters.
constexpr double kClocks = 1700;           // a microsecond
constexpr double kBytes = 4.65e6;          // of memory, a microsecond
constexpr double kPartBytes = 3e6;         // written and read again, a microsecond
constexpr double kSumsMicroseconds = 2.5;  // of the launch that adds parts
constexpr double kTileMicroseconds = 1;    // the end of a tile

int up(std::int64_t value, std::int64_t unit) {
  return static_cast<int>((value + unit - 1) / unit);
}

// Tiles as few and as narrow as the rows allow.
int width_of(std::int64_t rows) {
  const int each = up(rows, up(rows, kWidths.back()));
  return *std::find_if(kWidths.begin(), kWidths.end(), [&](int width) { return width >= each; });
}

// Multiprocessors stand in groups of 16 or 18, and a cluster in one of them.
int clusters_at_a_time(int multiprocessors, int cluster) {
  constexpr int kGroup = 16;
  const bool fits = cluster <= 2 || multiprocessors < kGroup;
  return std::max(1, (fits ? multiprocessors : multiprocessors / kGroup * kGroup) / cluster);
}

WideningArguments arguments_of(const GemvArguments& a, const WideningPlan& plan) {
  WideningArguments out;
  out.linear = a;
  const int rows = a.gated ? kWideningTileRows / 2 : kWideningTileRows;
  out.linear.chunks = up(a.columns, line_columns(a.matrix.kind));
  out.column_tiles = up(a.x_rows, plan.width);
  out.cluster = plan.cluster;
  out.row_tiles = up(up(a.gated ? a.up_begin : a.rows, rows), plan.cluster);
  out.share = plan.share;
  out.pairs = a.rows % 2 == 0 && a.up_begin % 2 == 0;
  for (int i = 0; i < a.segments; ++i) out.pairs = out.pairs && a.out[i].width % 2 == 0;
  return out;
}

}  // namespace

bool widening_serves(const PackedMatrix& form, const DeviceFeatures& features) {
  return features.hopper() && form.kind != CodeKind::k16Bit;
}

std::int64_t widening_workspace(std::int64_t columns, std::int64_t rows) {
  rows = std::min(rows, kWideningRows);
  // A step of fewer rows has no wider tiles than one of as many as fill the widest.
  const int width =
      rows > kWidths.back() ? kWidths.back() : width_of(std::max<std::int64_t>(rows, 1));
  const std::int64_t part = std::int64_t{4} * kWideningTileRows * width;
  return aligned(rows * widening_x_bytes(columns)) + 2 * kMostBlocks * part;
}

WideningPlan plan_widening(const GemvArguments& a, const DeviceFeatures& features, int cluster,
                           int tiles_apart) {
  WideningPlan plan;
  plan.width = width_of(a.x_rows);
  plan.cluster = 1;
  const int blocks = arguments_of(a, plan).row_tiles;
  plan.cluster = cluster > 0 ? cluster : std::min(kUsualCluster, blocks);
  const WideningArguments w = arguments_of(a, plan);
  const int multiprocessors = std::clamp(features.multiprocessors, plan.cluster, kMostBlocks);
  const int most = clusters_at_a_time(multiprocessors, plan.cluster);
  const std::int64_t tiles = std::int64_t{w.row_tiles} * w.column_tiles;
  const std::int64_t chunks = w.linear.chunks;
  const double columns = line_columns(a.matrix.kind);
  const double chunk =
      std::max(plan.width * columns / 16 / kClocks,
               64.0 * kWideningTileRows / (kBytes / std::max(1, features.multiprocessors)));
  const int apart = up(tiles, most) * static_cast<int>(chunks);
  const int even = up(tiles * chunks, most);
  const double part = 4.0 * kWideningTileRows * plan.width;
  const double apart_time =
      apart * chunk + static_cast<double>(up(tiles, most)) * kTileMicroseconds;
  const double even_time =
      even * chunk + kSumsMicroseconds +
      2.0 * part * std::min<double>(2.0 * multiprocessors, 2.0 * tiles * plan.cluster) / kPartBytes;
  const bool takes_apart = tiles_apart >= 0 ? tiles_apart != 0 : apart_time <= even_time;
  plan.share = takes_apart ? apart : even;
  plan.parts = !takes_apart && even % chunks != 0;
  plan.clusters = up(tiles * chunks, plan.share);
  return plan;
}

void launch_widening(const GemvArguments& a, const WideningPlan& plan, std::byte* workspace,
                     cudaStream_t stream) {
  TENON_ASSERT(a.x_rows > 0 && a.x_rows <= kWideningRows);
  WideningArguments w = arguments_of(a, plan);
  const std::int64_t x_bytes = widening_x_bytes(a.columns);
  w.parts = reinterpret_cast<float*>(workspace + aligned(a.x_rows * x_bytes));
  w.linear.x = reinterpret_cast<const std::uint8_t*>(workspace);
  const TensorMapAxis codes[] = {
      {a.matrix.row_bytes, 0, 64},
      {a.rows, a.matrix.row_bytes, a.gated ? kWideningTileRows / 2 : kWideningTileRows}};
  const TensorMapAxis x[] = {{x_bytes / 2, 0, 64}, {a.x_rows, x_bytes, plan.width / plan.cluster}};
  const WideningMaps maps{
      make_tensor_map(CU_TENSOR_MAP_DATA_TYPE_UINT8, CU_TENSOR_MAP_SWIZZLE_NONE, a.matrix.codes,
                      codes, "a matrix of codes"),
      make_tensor_map(CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, CU_TENSOR_MAP_SWIZZLE_128B, workspace, x,
                      "a linear's inputs")};
  launch_widening_columns(a.x, a.x_rows, a.columns, workspace, stream);
  if (a.matrix.kind == CodeKind::kInt4)
    launch_widening_4bit(w, maps, plan, stream);
  else
    launch_widening_8bit(w, maps, plan, stream);
  if (plan.parts) launch_widening_sums(w, plan, stream);
}

}  // namespace tenon::cuda
