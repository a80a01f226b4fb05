// SPDX-License-Identifier: Apache-2.0
#include "runtime/batch_builder.h"

#include <algorithm>

namespace tenon {
namespace {

/// So many rows on, memory is asked for what will be looked at.
constexpr std::size_t kAhead = 12;

/// What the backend's sampler has to know beyond what the user asked for.
SamplingParams sampling_of(const ActiveRequest& request) {
  SamplingParams sampling = request.spec->sampling;
  sampling.seed = request.seed;
  const bool ranks = sampling.best_of > sampling.n;  // by mean log-probability
  if (ranks && !sampling.logprobs) sampling.logprobs = 0;
  return sampling;
}

/// A slot's first update: everything about the sequence.
SlotUpdate announce(const Sequence& sequence, KvCache& cache) {
  SlotUpdate update;
  update.slot = sequence.slot;
  update.reset = true;
  update.parent = sequence.parent_slot;
  update.tables = cache.take_table_changes(sequence.cache, /*whole=*/true);
  update.sampling = sampling_of(*sequence.request);
  update.sample_index = sequence.sample;
  if (!sequence.request->spec->sampling.ignore_eos)
    update.end_ids = sequence.request->spec->end_ids;
  const auto prompt_end = sequence.tokens.begin() + sequence.prompt_length;
  if (sequence.parent_slot < 0) {
    update.history = {sequence.tokens.begin(), prompt_end};
    update.outputs = {prompt_end, sequence.tokens.end()};
  } else {
    update.outputs = {sequence.chosen_token};
  }
  return update;
}

/// A beam goes on: with its own history, or with another's.
SlotUpdate continue_beam(const Sequence& sequence, KvCache& cache) {
  SlotUpdate update;
  update.slot = sequence.slot;
  update.parent = sequence.parent_slot;
  update.tables = cache.take_table_changes(sequence.cache, sequence.parent_slot >= 0);
  update.outputs = {sequence.chosen_token};
  return update;
}

void add_update(Batch& batch, Sequence& sequence, KvCache& cache) {
  if (!sequence.announced) {
    batch.updates.push_back(announce(sequence, cache));
  } else if (sequence.chosen_token >= 0) {
    batch.updates.push_back(continue_beam(sequence, cache));
  } else {
    SlotUpdate& update = batch.updates.emplace_back();
    update.slot = sequence.slot;
    update.tables = cache.take_table_changes(sequence.cache);
  }
  sequence.announced = true;
  sequence.parent_slot = -1;
  sequence.chosen_token = -1;
}

bool wants_update(const Sequence& sequence, const KvCache& cache) {
  return !sequence.announced || sequence.chosen_token >= 0 ||
         cache.has_table_changes(sequence.cache);
}

/// `at`: where its tokens stand in the step.
void fill_tokens(Batch& batch, const ScheduledRow& row, std::size_t at) {
  const std::vector<std::int32_t>& known = row.sequence->tokens;
  const auto first = static_cast<std::size_t>(row.first_token);
  for (std::size_t t = 0; t < static_cast<std::size_t>(row.tokens); ++t) {
    const std::size_t position = first + t;
    batch.token_ids[at + t] = position < known.size() ? known[position] : kLastSampledToken;
    batch.positions[at + t] = static_cast<std::int32_t>(position);
  }
}

void add_logit_rows(Batch& batch, ScheduledRow& row, std::int32_t first) {
  row.first_logit_row = static_cast<std::int64_t>(batch.logit_rows.size());
  const std::int32_t last = first + static_cast<std::int32_t>(row.tokens) - 1;
  if (row.context_rows) {
    for (std::int32_t token = first; token <= last; ++token) batch.logit_rows.push_back(token);
  } else if (row.samples) {
    batch.logit_rows.push_back(last);
  }
  row.logit_rows = static_cast<std::int64_t>(batch.logit_rows.size()) - row.first_logit_row;
}

}  // namespace

Batch build_batch(std::vector<ScheduledRow>& rows, KvCache& cache) {
  Batch batch;
  std::size_t tokens = 0;
  for (const ScheduledRow& row : rows) tokens += static_cast<std::size_t>(row.tokens);
  batch.slots.resize(rows.size());
  batch.token_begin.resize(rows.size() + 1);
  batch.cached_tokens.resize(rows.size());
  batch.sequence_length.resize(rows.size());
  batch.sample_row.resize(rows.size());
  batch.token_ids.resize(tokens);
  batch.positions.resize(tokens);
  batch.logit_rows.reserve(rows.size());
  std::size_t at = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (i + kAhead < rows.size()) prefetch(*rows[i + kAhead].sequence);
    if (i + kAhead / 2 < rows.size()) cache.prefetch(rows[i + kAhead / 2].sequence->cache);
    ScheduledRow& row = rows[i];
    Sequence& sequence = *row.sequence;
    if (wants_update(sequence, cache)) add_update(batch, sequence, cache);
    row.first_token = sequence.computed;
    row.context = sequence.in_context();
    row.context_rows = sequence.hands_out_context_rows();
    row.samples = row.tokens == sequence.pending();
    row.draws = row.samples && (sequence.simple || !sequence.request->spec->embedding);
    batch.slots[i] = sequence.slot;
    batch.cached_tokens[i] = static_cast<std::int32_t>(sequence.computed);
    batch.sequence_length[i] = static_cast<std::int32_t>(sequence.length());
    fill_tokens(batch, row, at);
    add_logit_rows(batch, row, static_cast<std::int32_t>(at));
    batch.sample_row[i] = row.draws ? static_cast<std::int32_t>(batch.logit_rows.size()) - 1 : -1;
    at += static_cast<std::size_t>(row.tokens);
    batch.token_begin[i + 1] = static_cast<std::int32_t>(at);
  }
  batch.commands = cache.take_commands();
  return batch;
}

}  // namespace tenon
