// Puts one step's rows into a Batch: slot changes, tokens, wanted logits.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "backends/batch.h"
#include "runtime/scheduler.h"

namespace tenon {

/// Fills in what ScheduledRow leaves open and takes over the cache's pending changes. Counts of the
/// sequences (computed, in_flight) stay as they are.
Batch build_batch(std::vector<ScheduledRow>& rows, KvCache& cache);

}  // namespace tenon
