// StepRunner's other half: what a landed step means for each request.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "core/check.h"
#include "runtime/beam_group.h"
#include "runtime/beam_search.h"
#include "runtime/current_error.h"
#include "runtime/output_rules.h"
#include "runtime/step_runner.h"

namespace tenon {
void StepRunner::deliver(const Step& step, const ScheduledRow& row, const SequenceResult& result,
                         double now) {
  Sequence& sequence = *row.sequence;
  ActiveRequest& request = *sequence.request;
  --sequence.in_flight;
  if (row.draws) --sequence.unknown_tokens;
  if (row.draws && !sequence.simple && request.beams) --request.candidates_due;
  if (sequence.state == Sequence::State::kEnded) return;
  try {
    if (!sequence.simple) hand_out_rows(step, row);
    if (sequence.state == Sequence::State::kRunning) commit(row, now);
    if (sequence.simple) {
      if (row.draws) take_token(sequence, result, now);
    } else if (row.samples && request.spec->embedding) {
      const auto width = static_cast<std::size_t>(step.hidden.shape().at(1));
      const float* values = step.hidden.view().as<float>();
      request.spec->sink->on_embedding(
          {values + static_cast<std::size_t>(row.first_logit_row) * width, width});
      finish(sequence, FinishReason::kLength, nullptr, now);
    } else if (row.draws && request.beams) {
      take_candidates(step, row, result, now);
    } else if (row.draws) {
      take_token(sequence, result, now);
    }
  } catch (...) {
    const Error error = current_error("a callback threw: ");
    finish(sequence, FinishReason::kError, &error, now);
  }
}

/// Tokens of the row's sequence that may be committed; 0 where no block of them is new.
std::int64_t StepRunner::committable(const ScheduledRow& row) const {
  const Sequence& sequence = *row.sequence;
  const auto known =
      std::min(row.first_token + row.tokens, static_cast<std::int64_t>(sequence.tokens.size()));
  const std::int64_t size = scheduler_.limits().tokens_per_block;
  return known < (sequence.committed_blocks + 1) * size ? 0 : known;
}

/// Blocks that are whole, of tokens that are known, can be found by others.
void StepRunner::commit(const ScheduledRow& row, double now) {
  const std::int64_t known = committable(row);
  if (known == 0 || cache_.in_doubt()) return;
  Sequence& sequence = *row.sequence;
  const std::int64_t size = scheduler_.limits().tokens_per_block;
  const std::int64_t whole = known / size;
  sequence.committed_blocks = whole;
  cache_.commit(sequence.cache, sequence.tokens, whole * size, now);
}

/// `count` of the row's rows of logits, which the step read.
std::span<const float> StepRunner::logit_rows(const Step& step, const ScheduledRow& row,
                                              std::int64_t first, std::int64_t count) {
  const std::int64_t vocab = step.logits.shape().at(1);
  return {step.logits.view().as<float>() + (row.first_logit_row + first) * vocab,
          static_cast<std::size_t>(count * vocab)};
}

void StepRunner::hand_out_rows(const Step& step, const ScheduledRow& row) {
  Sequence& sequence = *row.sequence;
  const Request& spec = *sequence.request->spec;
  if (row.logit_rows == 0 || step.logits.shape().size() != 2) return;
  const std::int64_t vocab = step.logits.shape()[1];
  const auto rows_at = [&](std::int64_t first, std::int64_t count) {
    return logit_rows(step, row, first, count);
  };
  const std::int64_t last = row.first_token + row.tokens - 1;
  if (row.context_rows) {
    // What a restart computes again was handed out before.
    const std::int64_t begin = std::max(row.first_token, sequence.delivered_rows);
    const std::int64_t end = std::min(last + 1, sequence.prompt_length);
    if (spec.context_logits && begin < end)
      spec.sink->on_logits(0, begin, rows_at(begin - row.first_token, end - begin), vocab);
    if (spec.sampling.prompt_logprobs)
      for (std::int64_t p = begin; p < std::min(end, sequence.prompt_length - 1); ++p)
        spec.sink->on_prompt_logprobs(
            p + 1, logprobs_of_row(rows_at(p - row.first_token, 1),
                                   sequence.tokens[static_cast<std::size_t>(p + 1)],
                                   *spec.sampling.prompt_logprobs));
    sequence.delivered_rows = std::max(end, sequence.delivered_rows);
  }
  const bool handed_out = row.context_rows && spec.context_logits && last < sequence.prompt_length;
  if (spec.generation_logits && row.draws && !handed_out && !sequence.request->beams)
    spec.sink->on_logits(sequence.sample, last, rows_at(row.logit_rows - 1, 1), vocab);
}

void StepRunner::take_token(Sequence& sequence, const SequenceResult& result, double now) {
  TENON_CHECK(!result.tokens.empty(), ErrorCode::kInvalidArgument, kNoTokenMayFollow);
  const bool first = static_cast<std::int64_t>(sequence.tokens.size()) == sequence.prompt_length;
  if (result.tokens.size() == 1)
    sequence.tokens.push_back(result.tokens.front());
  else
    sequence.tokens.insert(sequence.tokens.end(), result.tokens.begin(), result.tokens.end());
  totals_.generated_tokens += result.tokens.size();
  if (first) {
    ActiveRequest& request = *sequence.request;
    if (request.timing.first_token_seconds == 0)
      request.timing.first_token_seconds = now - request.arrival;
    if (sequence.sample == 0) release_held(request);
  }
  if (!sequence.simple && sequence.constraint)
    for (const std::int32_t token : result.tokens) sequence.constraint->accept(token);
  const auto verdict = sequence.sink->on_tokens(sequence.sample, result);
  FinishReason reason = reason_to_end(sequence);
  if (verdict == RequestSink::Verdict::kStop) reason = FinishReason::kStopWords;
  if (reason != FinishReason::kNotFinished) finish(sequence, reason, nullptr, now);
}

/// The other samples begin once the prompt is in the cache.
void StepRunner::release_held(ActiveRequest& request) {
  if (request.beams) return;
  for (auto& sequence : request.sequences) {
    if (sequence->state != Sequence::State::kHeld) continue;
    sequence->fork_of = request.sequences.front().get();
    scheduler_.enqueue(*sequence);
  }
}

void StepRunner::take_candidates(const Step& step, const ScheduledRow& row,
                                 const SequenceResult& result, double now) {
  const Sequence& sequence = *row.sequence;
  ActiveRequest& request = *sequence.request;
  if (cache_.in_doubt()) return;  // the search begins anew
  if (request.timing.first_token_seconds == 0)
    request.timing.first_token_seconds = now - request.arrival;
  const auto beam = static_cast<std::size_t>(sequence.beam);
  if (request.candidates.size() <= beam) request.candidates.resize(beam + 1);
  TENON_CHECK(!result.top_logprobs.empty(), ErrorCode::kInternal,
              "[beams] the step gave no candidates");
  request.candidates[beam] = result.top_logprobs.front();
  if (request.spec->generation_logits) {
    if (request.candidate_logits.size() <= beam) request.candidate_logits.resize(beam + 1);
    const std::span<const float> logits = logit_rows(step, row, row.logit_rows - 1, 1);
    request.candidate_logits[beam].assign(logits.begin(), logits.end());
  }
  if (request.candidates_due > 0) return;
  const std::vector<BeamSearch::Beam> next =
      request.beams->advance(request.candidates, request.candidate_logits);
  request.candidates.clear();
  request.candidate_logits.clear();
  TENON_CHECK(!request.beams->stuck(), ErrorCode::kInvalidArgument, kNoTokenMayFollow);
  totals_.generated_tokens += next.size();
  if (request.beams->done() || next.empty())
    return finish_beams(request, FinishReason::kLength, now);
  apply_beams(request, next, scheduler_, cache_, now);
  constrain_beams(request);
}

void StepRunner::finish_beams(ActiveRequest& request, FinishReason reason, double now) {
  std::vector<BeamSearch::Finished> best;
  try {
    best = request.beams->best(reason);
  } catch (...) {
    const Error error = current_error();
    return finish_request(request, FinishReason::kError, &error, now);
  }
  for (auto& sequence : request.sequences) scheduler_.remove(*sequence, now);
  for (int i = 0; i < request.spec->sampling.n; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const bool found = at < best.size();
    if (found) try {
        hand_out_beam(request, i, best[at]);
      } catch (...) {
        // It ends all the same, and nobody is left to tell.
      }
    tell_finish(request, i, found ? best[at].reason : reason, nullptr, now);
  }
}

void StepRunner::hand_out_beam(const ActiveRequest& request, int beam,
                               BeamSearch::Finished& found) {
  const Request& spec = *request.spec;
  SequenceResult result{std::move(found.tokens), std::move(found.logprobs), {}};
  if (spec.sampling.logprobs.value_or(0) > 0)
    for (const auto& row : found.rows) result.top_logprobs.push_back(row->top);
  spec.sink->on_beam(beam, result, static_cast<float>(found.score));
  if (!spec.generation_logits) return;
  auto position = static_cast<std::int64_t>(spec.input_ids.size()) - 1;
  for (const auto& row : found.rows)
    spec.sink->on_logits(beam, position++, row->logits, session_.traits().vocab_size);
}

void StepRunner::finish(Sequence& sequence, FinishReason reason, const Error* error, double now) {
  if (sequence.state == Sequence::State::kEnded) return;
  ActiveRequest& request = *sequence.request;
  if (request.beams) return finish_request(request, reason, error, now);
  scheduler_.remove(sequence, now);
  if (sequence.sample == 0) release_held(request);
  tell_finish(request, sequence.sample, reason, error, now);
}

void StepRunner::finish_request(ActiveRequest& request, FinishReason reason, const Error* error,
                                double now) {
  if (request.open_samples == 0) return;
  if (request.beams && error == nullptr) return finish_beams(request, reason, now);
  if (request.beams) {
    for (auto& sequence : request.sequences) scheduler_.remove(*sequence, now);
    for (int i = 0; i < request.spec->sampling.n; ++i) tell_finish(request, i, reason, error, now);
    return;
  }
  // Last first: the first sample's end would start those that are held.
  for (std::size_t i = request.sequences.size(); i-- > 0;)
    finish(*request.sequences[i], reason, error, now);
}

void StepRunner::tell_finish(ActiveRequest& request, int sample, FinishReason reason,
                             const Error* error, double now) {
  const bool last = --request.open_samples == 0;
  if (last) try {
      RequestTiming& timing = request.timing;
      timing.total_seconds = now - request.arrival;
      timing.queued_seconds = (request.first_run < 0 ? now : request.first_run) - request.arrival;
      request.spec->sink->on_timing(timing);
    } catch (...) {
      // It hears of its end all the same.
    }
  try {
    request.spec->sink->on_finish(sample, reason, error);
  } catch (...) {
    // The request is over either way, and nobody is left to tell.
  }
  if (!last) return;
  --open_requests_;
  if (request.first_run < 0) {
    waiting_tokens_ -= request.sequences.front()->prompt_length;
    --waiting_requests_;
  }
  ended_.push_back(request.id);  // add() made room for it
  ++totals_.finished_requests;
  if (reason == FinishReason::kError) ++totals_.failed_requests;
  if (reason == FinishReason::kCancelled) ++totals_.cancelled_requests;
  if (reason == FinishReason::kTimedOut) ++totals_.timed_out_requests;
}

/// Requests that ended go once no step in flight has a row of them.
void StepRunner::erase_ended() {
  std::erase_if(ended_, [this](RequestId id) {
    const auto found = requests_.find(id);
    if (found == requests_.end()) return true;
    const ActiveRequest& request = *found->second;
    for (const auto& sequence : request.sequences)
      if (sequence->in_flight > 0) return false;
    if (request.spec->options.queue_seconds)
      deadlines_.erase({request.arrival + *request.spec->options.queue_seconds, id});
    if (request.spec->options.total_seconds)
      deadlines_.erase({request.arrival + *request.spec->options.total_seconds, id});
    requests_.erase(found);
    return true;
  });
}

}  // namespace tenon
