// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/linear_widening.h"

#include <algorithm>
#include <array>

#include "backends/cuda/tensor_map.h"
#include "core/check.h"

namespace tenon::cuda {
namespace {

constexpr int kMostBlocks = 144;  // whose parts workspace has room for: no Hopper has more
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

WideningArguments arguments_of(const GemvArguments& a, const WideningPlan& plan) {
  WideningArguments out;
  out.linear = a;
  const int rows = a.gated ? kWideningTileRows / 2 : kWideningTileRows;
  out.linear.chunks = up(a.columns, line_columns(a.matrix.kind));
  out.column_tiles = up(a.x_rows, plan.width);
  out.row_tiles = up(a.gated ? a.up_begin : a.rows, rows);
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

WideningPlan plan_widening(const GemvArguments& a, const DeviceFeatures& features,
                           int multiprocessors) {
  if (multiprocessors == 0) multiprocessors = features.multiprocessors;
  WideningPlan plan;
  plan.width = width_of(a.x_rows);
  const WideningArguments w = arguments_of(a, plan);
  const std::int64_t chunks = std::int64_t{w.row_tiles} * w.column_tiles * w.linear.chunks;
  plan.share = up(chunks, std::clamp(multiprocessors, 1, kMostBlocks));
  plan.parts = plan.share % w.linear.chunks != 0;
  plan.blocks = up(chunks, plan.share);
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
  const TensorMapAxis x[] = {{x_bytes / 2, 0, 64}, {a.x_rows, x_bytes, plan.width}};
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
