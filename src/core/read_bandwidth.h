// What this machine's memory gives at best: the roof of whatever reads more than it computes.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "core/thread_pool.h"

namespace tenon {

/// Bytes a second that all threads of the pool read from a buffer of `bytes`, the best of
/// `repeats`. The buffer should be larger than the caches.
double read_bandwidth(ThreadPool& pool, std::int64_t bytes, int repeats);

}  // namespace tenon
