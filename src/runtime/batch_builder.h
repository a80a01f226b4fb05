// Puts one step's sequences into a Batch: slot changes, rows, wanted logits.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>
#include <vector>

#include "backends/batch.h"
#include "runtime/sequence.h"

namespace tenon {

/// A sequence and how many of its pending tokens run in this step.
struct ScheduledSequence {
  Sequence* sequence = nullptr;
  std::int64_t tokens = 0;
  std::int64_t first_logit_row = 0;  ///< filled in: its rows in Batch::logit_rows
  std::int64_t logit_rows = 0;
  bool samples = false;  ///< filled in: the step ends with its last known token
};

Batch build_batch(std::vector<ScheduledSequence>& step);

}  // namespace tenon
