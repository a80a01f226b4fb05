// SPDX-License-Identifier: Apache-2.0
#include "runtime/batch_builder.h"

#include <span>

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

/// Where a row's tokens and logits begin.
struct Begin {
  std::int32_t token = 0;
  std::int32_t logit_row = 0;
};

/// `row.first_token` and `row.tokens` are set.
void add_tokens(Batch& batch, const ScheduledRow& row, const Begin& begin) {
  const std::span known = row.sequence->tokens;
  std::int32_t* ids = batch.token_ids.data() + begin.token;
  std::int32_t* positions = batch.positions.data() + begin.token;
  const auto first = static_cast<std::size_t>(row.first_token);
  const auto end = first + static_cast<std::size_t>(row.tokens);
  for (std::size_t position = first; position < end; ++position) {
    *ids++ = position < known.size() ? known[position] : kLastSampledToken;
    *positions++ = static_cast<std::int32_t>(position);
  }
}

void add_logit_rows(Batch& batch, ScheduledRow& row, const Begin& begin) {
  const auto end = begin.token + static_cast<std::int32_t>(row.tokens);
  row.logit_rows = row.context_rows ? row.tokens : (row.samples ? 1 : 0);
  for (std::int64_t left = row.logit_rows; left > 0; --left)
    batch.logit_rows.push_back(end - static_cast<std::int32_t>(left));
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
  Begin begin;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (i + kAhead < rows.size()) prefetch(*rows[i + kAhead].sequence);
    ScheduledRow& row = rows[i];
    Sequence& sequence = *row.sequence;
    if (wants_update(sequence, cache)) add_update(batch, sequence, cache);
    row.first_token = sequence.computed;
    row.context = sequence.in_context();
    row.context_rows = sequence.hands_out_context_rows();
    row.samples = row.tokens == sequence.pending();
    row.draws = row.samples && (sequence.simple || !sequence.request->spec->embedding);
    row.first_logit_row = begin.logit_row;
    batch.watched = batch.watched || sequence.alone;
    batch.slots[i] = sequence.slot;
    batch.token_begin[i] = begin.token;
    batch.cached_tokens[i] = static_cast<std::int32_t>(sequence.computed);
    batch.sequence_length[i] = static_cast<std::int32_t>(sequence.length());
    add_tokens(batch, row, begin);
    add_logit_rows(batch, row, begin);
    begin.token += static_cast<std::int32_t>(row.tokens);
    begin.logit_row += static_cast<std::int32_t>(row.logit_rows);
    batch.sample_row[i] = row.draws ? begin.logit_row - 1 : -1;
  }
  batch.token_begin.back() = begin.token;
  batch.commands = cache.take_commands();
  return batch;
}

}  // namespace tenon
