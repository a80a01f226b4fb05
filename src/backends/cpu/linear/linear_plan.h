// LinearPlan: what a node's panels, jobs and workspace will be, known before anything is packed.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "backends/cpu/cpu_kernel.h"
#include "backends/cpu/linear/panel_isa.h"

namespace tenon::cpu {

/// How a call with so many rows is cut: a job is a run of units by a tile of rows.
struct JobShape {
  std::int64_t tile_rows = 0;
  std::int64_t tiles = 0;
  std::int64_t job_units = 0;
  std::int64_t jobs = 0;  ///< of one tile
};

/// Workspace offsets for so many rows.
struct LinearWorkspace {
  std::int64_t padded_x = 0;       ///< or rounded, or both
  std::int64_t x_scales = 0;       ///< one a row of rounded x
  std::vector<std::int64_t> sums;  ///< one a LinearPlan::sum_chunks
  std::int64_t workers = 0;
  std::int64_t worker_bytes = 0;
  std::int64_t accumulators = 0;  ///< inside a worker's part, after the scratch
  std::int64_t kept_row = 0;      ///< one number (PanelCall::kept_row), after the accumulators
  std::int64_t total = 0;
};

class LinearPlan {
 public:
  /// `matrices` is how many of the node's weights are matrices; where gated, two.
  /// `float8_x`: rows of x are rounded to float8_e4m3 first.
  LinearPlan(const NodeView& node, std::int64_t matrices, bool gated, const PanelIsa& isa,
             bool float8_x = false);

  const PanelIsa& isa() const { return isa_; }
  std::int64_t in_features() const { return in_features_; }
  bool gated() const { return gated_; }
  bool float8_x() const { return float8_x_; }
  /// Kernels read a copy of x, padded or rounded.
  bool copies_x() const { return float8_x_ || padded_features_ != in_features_; }
  std::int64_t padded_features() const { return padded_features_; }
  std::span<const PanelMatrix> matrices() const { return matrices_; }
  /// Distinct chunk lengths whose sums of x are needed.
  std::span<const std::int64_t> sum_chunks() const { return sum_chunks_; }
  /// Units that jobs are runs of: a panel, or where gated a panel of each matrix.
  std::int64_t units() const { return units_; }
  /// Bytes of packed matrices and fp32 biases.
  std::int64_t packed_bytes() const;

  JobShape jobs(std::int64_t rows, int threads) const;
  LinearWorkspace workspace(std::int64_t rows, int threads) const;
  std::int64_t workspace_bytes(const StepSizes& limits, int threads) const;

 private:
  std::int64_t even_units(std::int64_t most, std::int64_t tiles, int threads) const;

  const PanelIsa& isa_;
  bool gated_;
  bool float8_x_;
  ValueType input_;
  std::int64_t in_features_ = 0;
  std::int64_t padded_features_ = 0;
  std::int64_t bias_bytes_ = 0;
  std::int64_t units_ = 0;
  std::vector<PanelMatrix> matrices_;
  std::vector<std::int64_t> sum_chunks_;
};

}  // namespace tenon::cpu
