// What this machine can do at best, measured in the same run as what is compared with it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/thread_pool.h"

namespace tenon::bench {

/// Seconds on a clock that never goes back.
double now();

/// Bytes a second that all threads read from a buffer of `bytes`, the best of `repeats`.
double read_bandwidth(ThreadPool& pool, std::int64_t bytes, int repeats);

/// Flops a second of independent FMAs in registers, with the widest vectors there are.
double fma_peak(ThreadPool& pool);

/// Flops a second of bf16 tile products in registers; 0 without AMX.
double tile_peak(ThreadPool& pool);

}  // namespace tenon::bench
