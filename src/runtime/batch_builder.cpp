// SPDX-License-Identifier: Apache-2.0
#include "runtime/batch_builder.h"

#include <algorithm>

namespace tenon {
namespace {

SlotUpdate announce(const Sequence& sequence) {
  SlotUpdate update;
  update.slot = sequence.slot;
  update.reset = true;
  for (std::size_t group = 0; group < sequence.blocks.size(); ++group)
    update.tables.push_back({static_cast<std::int32_t>(group), 0, sequence.blocks[group]});
  update.sampling = sequence.spec->sampling;
  update.sampling->seed = sequence.seed;
  update.sample_index = sequence.sample;
  update.end_ids = sequence.spec->end_ids;
  update.history = {sequence.tokens.begin(), sequence.tokens.begin() + sequence.prompt_length};
  return update;
}

void add_rows(Batch& batch, ScheduledSequence& scheduled) {
  const Sequence& sequence = *scheduled.sequence;
  const auto first_token = static_cast<std::int32_t>(batch.token_ids.size());
  for (std::int64_t t = 0; t < scheduled.tokens; ++t) {
    const std::int64_t position = sequence.cached + t;
    batch.token_ids.push_back(sequence.tokens[static_cast<std::size_t>(position)]);
    batch.positions.push_back(static_cast<std::int32_t>(position));
  }
  scheduled.samples = scheduled.tokens == sequence.pending();
  scheduled.first_logit_row = static_cast<std::int64_t>(batch.logit_rows.size());
  const bool context = sequence.spec->context_logits && sequence.cached < sequence.prompt_length;
  if (context) {
    for (std::int64_t t = 0; t < scheduled.tokens; ++t)
      batch.logit_rows.push_back(first_token + static_cast<std::int32_t>(t));
  } else if (scheduled.samples) {
    batch.logit_rows.push_back(first_token + static_cast<std::int32_t>(scheduled.tokens) - 1);
  }
  scheduled.logit_rows =
      static_cast<std::int64_t>(batch.logit_rows.size()) - scheduled.first_logit_row;
  batch.sample_row.push_back(
      scheduled.samples ? static_cast<std::int32_t>(batch.logit_rows.size()) - 1 : -1);
}

}  // namespace

Batch build_batch(std::vector<ScheduledSequence>& step) {
  std::stable_partition(step.begin(), step.end(), [](const ScheduledSequence& scheduled) {
    return scheduled.sequence->pending() == 1;  // decodes first
  });
  Batch batch;
  batch.token_begin.push_back(0);
  for (ScheduledSequence& scheduled : step) {
    Sequence& sequence = *scheduled.sequence;
    if (!sequence.announced) {
      batch.updates.push_back(announce(sequence));
      sequence.announced = true;
    }
    batch.slots.push_back(sequence.slot);
    batch.cached_tokens.push_back(static_cast<std::int32_t>(sequence.cached));
    batch.sequence_length.push_back(static_cast<std::int32_t>(sequence.tokens.size()));
    add_rows(batch, scheduled);
    batch.token_begin.push_back(static_cast<std::int32_t>(batch.token_ids.size()));
  }
  return batch;
}

}  // namespace tenon
