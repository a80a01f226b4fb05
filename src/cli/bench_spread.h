// Spread: how measured values lie, and the median run of several.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace tenon::cli {

/// The value below which a share `q` in [0, 1] of `sorted` (ascending, not empty) lies, linear
/// between the two nearest: 0 the smallest, 0.5 the median, 1 the largest.
double percentile(std::span<const double> sorted, double q);

/// All 0 where there were no values.
struct Spread {
  std::size_t count = 0;
  double mean = 0;
  double min = 0;
  double p50 = 0;
  double p90 = 0;
  double p99 = 0;
  double max = 0;
};
Spread spread_of(std::vector<double> values);

/// Index of the median value: of an even number, the lower of the two in the middle. `values` is
/// not empty.
std::size_t median_index(std::span<const double> values);

}  // namespace tenon::cli
