// What this machine can do at best, measured in the same run as what is compared with it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/thread_pool.h"

namespace tenon::bench {

/// Seconds on a clock that never goes back.
double now();

/// Flops a second of independent FMAs in registers, with the widest vectors there are.
double fma_peak(ThreadPool& pool);

/// Flops a second of bf16 tile products in registers; 0 without AMX.
double tile_peak(ThreadPool& pool);

}  // namespace tenon::bench
