// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/linear/linear_plan.h"

#include <algorithm>
#include <limits>

#include "backends/cpu/linear/packed_weight.h"
#include "core/check.h"

namespace tenon::cpu {
namespace {

constexpr std::int64_t kFewRows = 4;
constexpr std::int64_t kDecodeUnits = 16;  // most units of a job of few rows
constexpr std::int64_t kFloatBytes = 4;
constexpr std::int64_t kLongestStep = 8;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
std::int64_t align(std::int64_t bytes) { return ceil_div(bytes, 64) * 64; }

std::int64_t padded_rows(const PanelMatrix& m) { return m.panels * kPanelRows; }

bool needs_padding(const PanelMatrix& m) {
  switch (m.codes) {
    case CodeKind::kF32:
    case CodeKind::kF16: return false;
    case CodeKind::kBF16: return m.columns % 2 != 0;
    case CodeKind::kI8: return m.columns % 4 != 0;
    default: return m.columns % 8 != 0;
  }
}

}  // namespace

LinearPlan::LinearPlan(const NodeView& node, std::int64_t matrices, bool gated, const PanelIsa& isa,
                       bool float8_x)
    : isa_(isa), gated_(gated), float8_x_(float8_x), input_(node.inputs[0]) {
  const auto count = static_cast<std::size_t>(matrices);
  TENON_ASSERT(node.weights.size() >= count && count > 0);
  for (std::size_t i = 0; i < count; ++i) {
    const WeightUse& use = node.weights[i];
    TENON_CHECK(use.shape.size() == 2, ErrorCode::kInternal, "[linear] {} is {}, expected a matrix",
                use.name, to_string(use.shape));
    matrices_.push_back(plan_panels(use.spec, use.shape[0], use.shape[1]));
    const PanelMatrix& m = matrices_.back();
    if (node.weights.size() > count) bias_bytes_ += padded_rows(m) * kFloatBytes;
    if (m.minimum &&
        std::find(sum_chunks_.begin(), sum_chunks_.end(), m.chunk) == sum_chunks_.end())
      sum_chunks_.push_back(m.chunk);
    if (!gated || i == 0) units_ += m.panels;
  }
  in_features_ = matrices_[0].columns;
  const bool pads = std::any_of(matrices_.begin(), matrices_.end(), needs_padding);
  padded_features_ = pads ? ceil_div(in_features_, kLongestStep) * kLongestStep : in_features_;
}

std::int64_t LinearPlan::packed_bytes() const {
  std::int64_t total = bias_bytes_;
  for (const PanelMatrix& m : matrices_) total += panel_matrix_bytes(m);
  return total;
}

JobShape LinearPlan::jobs(std::int64_t rows, int threads) const {
  JobShape shape;
  shape.tiles = std::max<std::int64_t>(1, ceil_div(rows, isa_.block_rows));
  shape.tile_rows = rows;
  if (shape.tiles > 1) shape.tile_rows = ceil_div(ceil_div(rows, shape.tiles), 16) * 16;
  shape.tiles = ceil_div(rows, shape.tile_rows);
  // Enough jobs to even out threads that are slowed down, yet as wide as reuse of x wants.
  const bool few = rows <= kFewRows;
  const std::int64_t widest = few ? kDecodeUnits : isa_.block_panels / (gated_ ? 2 : 1);
  std::int64_t units = units_ * shape.tiles / (threads * (few ? 4 : 2));
  units = std::clamp<std::int64_t>(units, 1, widest);
  if (units >= 4)
    units = few ? units / 4 * 4 : even_units(units, shape.tiles, threads);
  else if (units == 3)
    units = 2;
  if (threads == 1) units = widest;
  shape.job_units = units;
  shape.jobs = ceil_div(units_, units);
  return shape;
}

/// An even number up to `most` with which the busiest thread has the least to do.
std::int64_t LinearPlan::even_units(std::int64_t most, std::int64_t tiles, int threads) const {
  std::int64_t best = most / 2 * 2;
  std::int64_t least = std::numeric_limits<std::int64_t>::max();
  for (std::int64_t units = best; units >= 4; units -= 2) {
    const std::int64_t busiest = ceil_div(ceil_div(units_, units) * tiles, threads) * units;
    if (busiest >= least) continue;
    least = busiest;
    best = units;
  }
  return best;
}

LinearWorkspace LinearPlan::workspace(std::int64_t rows, int threads) const {
  LinearWorkspace space;
  if (copies_x()) space.total += align(rows * padded_features_ * kFloatBytes);
  space.x_scales = space.total;
  if (float8_x_) space.total += align(rows * kFloatBytes);
  for (const std::int64_t chunk : sum_chunks_) {
    space.sums.push_back(space.total);
    space.total += align(rows * ceil_div(in_features_, chunk) * kFloatBytes);
  }
  space.workers = space.total;
  const std::int64_t tile = std::min(rows, ceil_div(isa_.block_rows, 16) * 16);
  const std::int64_t units = std::max(kDecodeUnits, isa_.block_panels) * (gated_ ? 2 : 1);
  space.accumulators = align(isa_.scratch_bytes(tile, in_features_));
  space.kept_row = space.accumulators + align(tile * units * kPanelRows * kFloatBytes);
  space.worker_bytes = space.kept_row + align(sizeof(std::int64_t));
  space.total += threads * space.worker_bytes;
  return space;
}

std::int64_t LinearPlan::workspace_bytes(const StepSizes& limits, int threads) const {
  const std::int64_t width = std::max<std::int64_t>(1, in_features_);
  const std::int64_t rows = limits.elements(input_) / width;
  return rows == 0 ? 0 : workspace(rows, threads).total;
}

}  // namespace tenon::cpu
