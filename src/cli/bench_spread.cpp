// SPDX-License-Identifier: Apache-2.0
#include "cli/bench_spread.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/check.h"

namespace tenon::cli {

double percentile(std::span<const double> sorted, double q) {
  TENON_ASSERT(!sorted.empty() && q >= 0 && q <= 1);
  const double place = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(std::floor(place));
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (place - std::floor(place));
}

Spread spread_of(std::vector<double> values) {
  Spread spread;
  if (values.empty()) return spread;
  std::sort(values.begin(), values.end());
  spread.count = values.size();
  spread.mean =
      std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  spread.min = values.front();
  spread.p50 = percentile(values, 0.5);
  spread.p90 = percentile(values, 0.9);
  spread.p99 = percentile(values, 0.99);
  spread.max = values.back();
  return spread;
}

std::size_t median_index(std::span<const double> values) {
  TENON_ASSERT(!values.empty());
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  return order[(order.size() - 1) / 2];
}

}  // namespace tenon::cli
