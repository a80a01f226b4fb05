// deadline_after: a moment that any number of seconds leads to. Callers wait for as long as they
// like; no number of theirs overflows the clock.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>

namespace tenon {

/// `seconds` from now; less than 0 and NaN: now, more than a century: a century.
inline std::chrono::steady_clock::time_point deadline_after(double seconds) {
  using Clock = std::chrono::steady_clock;
  constexpr double kCentury = 3.2e9;
  const double bounded = seconds > 0 ? std::min(seconds, kCentury) : 0.0;
  return Clock::now() +
         std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(bounded));
}

}  // namespace tenon
