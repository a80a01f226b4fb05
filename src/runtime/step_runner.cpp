// SPDX-License-Identifier: Apache-2.0
#include "runtime/step_runner.h"

#include <algorithm>

#include "core/check.h"
#include "runtime/batch_builder.h"
#include "runtime/beam_group.h"
#include "runtime/current_error.h"
#include "runtime/output_rules.h"

namespace tenon {
namespace {

KvCacheSettings cache_settings(const Session& session, const StepRunnerOptions& options) {
  KvCacheSettings settings;
  for (const Session::CacheGroup& group : session.cache_groups())
    settings.groups.push_back({.window = group.window,
                               .blocks = group.blocks,
                               .host_blocks = group.host_blocks,
                               .disk_blocks = group.disk_blocks});
  settings.tokens_per_block = session.options().tokens_per_block;
  settings.reuse = options.reuse;
  settings.partial_reuse = options.partial_reuse;
  settings.max_step_tokens = session.options().max_step_tokens;
  settings.event_capacity = options.cache_events;
  return settings;
}

SchedulerLimits scheduler_limits(const Session& session, const StepRunnerOptions& options) {
  const SessionOptions& limits = session.options();
  return {.policy = options.policy,
          .chunking = options.chunking,
          .step_tokens = limits.max_step_tokens,
          .context_chunk = options.context_chunk,
          .sequences = limits.max_sequences,
          .logit_rows = limits.all_logits ? limits.max_step_tokens : limits.max_sequences,
          .tokens_per_block = limits.tokens_per_block,
          .chunkable = session.traits().chunkable,
          .keeps_last_tokens = session.keeps_last_tokens()};
}

/// Rows of steps that are kept for use again.
constexpr std::size_t kSpareRows = 4;

}  // namespace

StepRunner::StepRunner(Session& session, const StepRunnerOptions& options)
    : session_(session),
      options_(options),
      cache_(cache_settings(session, options)),
      scheduler_(scheduler_limits(session, options), cache_) {
  spare_rows_.reserve(kSpareRows);
}

StepRunner::~StepRunner() {
  if (!flying_) return;
  try {
    flying_->handle->wait();
  } catch (...) {
    // Nobody is left to hear of it.
  }
}

void StepRunner::add(RequestId id, std::shared_ptr<const Request> spec, std::uint64_t seed,
                     std::int64_t max_new_tokens, double now) {
  std::optional<Error> error = failure_;
  if (!error) try {
      return take_in(id, spec, seed, max_new_tokens, now);
    } catch (...) {
      error = current_error();
    }
  ++totals_.finished_requests;
  ++totals_.failed_requests;
  const int samples = spec->sampling.beam_width > 1 ? spec->sampling.n : spec->samples();
  for (int sample = 0; sample < samples; ++sample) try {
      spec->sink->on_finish(sample, FinishReason::kError, &*error);
    } catch (...) {
      // It is refused all the same, and nobody is left to tell.
    }
}

/// Throws where memory runs out, or the request's own constraint throws: then nothing has changed.
void StepRunner::take_in(RequestId id, std::shared_ptr<const Request> spec, std::uint64_t seed,
                         std::int64_t max_new_tokens, double now) {
  auto request = std::make_unique<ActiveRequest>();
  request->id = id;
  request->seed = seed;
  request->arrival = now;
  request->queue_key = queue_key(now, spec->options.priority);
  request->spec = std::move(spec);
  const Request& wanted = *request->spec;
  const bool beams = request->is_beam_search();
  const int count = beams ? wanted.sampling.beam_width : wanted.samples();
  request->open_samples = beams ? wanted.sampling.n : count;
  if (beams)
    request->beams = std::make_unique<BeamSearch>(
        wanted.sampling, wanted.sampling.ignore_eos ? std::vector<std::int32_t>{} : wanted.end_ids,
        max_new_tokens);
  for (int sample = 0; sample < count; ++sample) {
    auto sequence = std::make_unique<Sequence>();
    sequence->request = request.get();
    sequence->sink = wanted.sink.get();
    sequence->ends = few_ends(wanted);
    sequence->simple = !beams && !request->wants_late_inputs() && !request->wants_outputs();
    sequence->sample = sample;
    sequence->state = Sequence::State::kHeld;
    sequence->tokens = wanted.input_ids;
    sequence->prompt_length = static_cast<std::int64_t>(wanted.input_ids.size());
    sequence->max_new_tokens = max_new_tokens;
    sequence->longest = sequence->prompt_length + max_new_tokens;
    if (wanted.options.constraint) sequence->constraint = wanted.options.constraint->fresh();
    Scheduler::make_queue_entry(*sequence);
    request->sequences.push_back(std::move(sequence));
  }
  // Whatever ends has its place in the list of those that ended.
  if (ended_.capacity() <= requests_.size()) ended_.reserve(2 * requests_.size() + 16);
  // A time limit of a request that is not there does nothing.
  if (wanted.options.queue_seconds) deadlines_.emplace(now + *wanted.options.queue_seconds, id);
  if (wanted.options.total_seconds) deadlines_.emplace(now + *wanted.options.total_seconds, id);
  Sequence& first = *request->sequences.front();
  first.alone = !wanted.taps.empty();  // a tap shows a whole step
  const bool taken = requests_.emplace(id, std::move(request)).second;
  TENON_ASSERT(taken);
  waiting_tokens_ += first.prompt_length;
  ++waiting_requests_;
  ++open_requests_;
  scheduler_.enqueue(first);
}

std::optional<double> StepRunner::next_deadline() const {
  if (deadlines_.empty()) return std::nullopt;
  return deadlines_.begin()->first;
}

void StepRunner::expire(double now) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const RequestId id = deadlines_.begin()->second;
    deadlines_.erase(deadlines_.begin());
    const auto found = requests_.find(id);
    if (found == requests_.end()) continue;
    ActiveRequest& request = *found->second;
    const auto passed = [&](const std::optional<double>& limit) {
      return limit && request.arrival + *limit <= now;
    };
    if (passed(request.spec->options.total_seconds) ||
        (passed(request.spec->options.queue_seconds) && request.first_run < 0))
      finish_request(request, FinishReason::kTimedOut, nullptr, now);
  }
  erase_ended();
}

void StepRunner::cancel(RequestId id, int sample, double now) {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return;
  ActiveRequest& request = *found->second;
  if (sample < 0 || request.is_beam_search())
    finish_request(request, FinishReason::kCancelled, nullptr, now);
  else if (static_cast<std::size_t>(sample) < request.sequences.size())
    finish(*request.sequences[static_cast<std::size_t>(sample)], FinishReason::kCancelled, nullptr,
           now);
  erase_ended();
}

void StepRunner::cancel_before(RequestId id, double now) {
  for (auto& [mine, request] : requests_)
    if (mine < id) finish_request(*request, FinishReason::kCancelled, nullptr, now);
  erase_ended();
}

void StepRunner::end_all(FinishReason reason, const Error* error, double now) {
  for (auto& [id, request] : requests_) finish_request(*request, reason, error, now);
  erase_ended();
}

bool StepRunner::iterate(const std::function<double()>& clock) {
  if (cache_.in_doubt()) start_over(clock);
  const bool worked = iterate_once(clock);
  if (cache_.in_doubt()) start_over(clock);
  return worked;
}

bool StepRunner::iterate_once(const std::function<double()>& clock) {
  if (requests_.empty() && !flying_) return false;
  host_times_ = {};
  Step step;
  if (!spare_rows_.empty()) {
    step.rows = std::move(spare_rows_.back());
    spare_rows_.pop_back();
  }
  std::optional<Error> error;
  bool late = false;
  try {
    late = issue(step, clock);
    if (!late && !step.rows.empty()) step.handle = session_.sample({});
  } catch (...) {
    error = current_error();
  }
  if (error && !step.counted) {  // the plan was cut short
    plan_error_ = error;
    ++failed_plans_in_a_row_;
    cache_.doubt();
  }
  const bool landed = flying_.has_value();
  if (landed) {
    Step before = std::move(*flying_);
    flying_.reset();
    std::optional<Error> failed_before;
    try {
      land(before, clock);
    } catch (...) {
      failed_before = current_error();
    }
    if (failed_before) {
      step_failed(before, step.counted ? &step : nullptr, *failed_before, clock());
      erase_ended();
      return true;
    }
    if (spare_rows_.size() < kSpareRows) spare_rows_.push_back(std::move(before.rows));
  }
  if (!error && late) try {
      sample_late(step);
    } catch (...) {
      error = current_error();
    }
  if (error) {
    if (step.counted) step_failed(step, nullptr, *error, clock());
  } else if (!step.rows.empty()) {
    flying_ = std::move(step);
    // Whether it is this one that a worker process does not outlive shows only without another.
    const bool one_at_a_time = lost_workers_ > 0 && scheduler_.has_alone();
    if (!options_.run_ahead || one_at_a_time) return iterate_landing(clock);
  } else if (!landed) {
    stuck(clock());
  }
  erase_ended();
  return true;
}

/// Without running ahead: the step just issued lands before the next is planned.
bool StepRunner::iterate_landing(const std::function<double()>& clock) {
  Step step = std::move(*flying_);
  flying_.reset();
  try {
    land(step, clock);
    if (spare_rows_.size() < kSpareRows) spare_rows_.push_back(std::move(step.rows));
  } catch (...) {
    const Error error = current_error();
    step_failed(step, nullptr, error, clock());
  }
  erase_ended();
  return true;
}

/// Plans, prepares and starts a step; nothing where there is nothing to run. True: it is sampled
/// late, since a row wants the host's help or the step's outputs.
bool StepRunner::issue(Step& step, const std::function<double()>& clock) {
  step.issued = clock();
  cache_.begin_step();
  const std::uint64_t paused_before = scheduler_.paused();
  scheduler_.plan(step.issued, step.rows);
  step.paused = scheduler_.paused() - paused_before;
  const double planned = clock();
  host_times_.plan = planned - step.issued;
  if (step.rows.empty()) return false;
  const Batch batch = build_batch(step.rows, cache_);
  to_commit_.clear();
  to_commit_.reserve(step.rows.size());
  bool late = false;
  for (const ScheduledRow& row : step.rows) {
    Sequence& sequence = *row.sequence;
    sequence.computed += row.tokens;
    ++sequence.in_flight;
    if (row.draws) ++sequence.unknown_tokens;
    if (committable(row) > 0) to_commit_.push_back(&row);
    if (sequence.simple && !row.context) continue;
    ActiveRequest& request = *sequence.request;
    if (row.draws && request.beams) ++request.candidates_due;
    late = late || (row.draws && request.wants_late_inputs()) ||
           (row.logit_rows > 0 && request.wants_outputs());
    if (request.first_run >= 0) continue;
    request.first_run = step.issued;
    waiting_tokens_ -= sequence.prompt_length;
    --waiting_requests_;
  }
  step.counted = true;
  failed_plans_in_a_row_ = 0;
  host_times_.build = clock() - planned;
  session_.prepare(batch);
  session_.forward();
  step.forwarded = true;
  // Before windows move on: what falls out of them can still be found. A failed step puts the
  // whole cache in doubt.
  for (std::size_t i = 0; i < to_commit_.size(); ++i) {
    if (i + 4 < to_commit_.size()) cache_.prefetch(to_commit_[i + 4]->sequence->cache);
    if (i + 2 < to_commit_.size()) cache_.prefetch_tail(to_commit_[i + 2]->sequence->cache);
    commit(*to_commit_[i], step.issued);
  }
  step.host_seconds = clock() - step.issued;
  return late;
}

void StepRunner::sample_late(Step& step) {
  bool wants_logits = false;
  bool wants_hidden = false;
  for (const ScheduledRow& row : step.rows) {
    const ActiveRequest& request = *row.sequence->request;
    if (!row.sequence->is_alive() || row.logit_rows == 0) continue;
    wants_logits = wants_logits || request.wants_context_rows() ||
                   request.spec->generation_logits ||
                   request.spec->options.logits_processor != nullptr;
    wants_hidden = wants_hidden || request.spec->embedding;
  }
  if (wants_logits) step.logits = session_.read("logits");
  if (wants_hidden) step.hidden = session_.read("hidden_states");
  for (const ScheduledRow& row : step.rows)
    if (row.samples) hand_out_taps(*row.sequence, step.issued);
  step.handle = session_.sample(late_inputs(step));
}

void StepRunner::hand_out_taps(Sequence& sequence, double now) {
  if (!sequence.is_alive()) return;
  try {
    for (const std::string& name : sequence.request->spec->taps)
      sequence.request->spec->sink->on_output(name, session_.read(name));
  } catch (...) {
    const Error error = current_error();
    finish(sequence, FinishReason::kError, &error, now);
  }
}

LateInputs StepRunner::late_inputs(Step& step) {
  LateInputs late;
  const auto vocab = static_cast<std::size_t>(session_.traits().vocab_size);
  for (std::size_t i = 0; i < step.rows.size(); ++i) {
    const ScheduledRow& row = step.rows[i];
    Sequence& sequence = *row.sequence;
    const Request& spec = *sequence.request->spec;
    if (!row.draws || !sequence.is_alive()) continue;
    try {
      if (sequence.constraint) {
        late.allowed_tokens.resize(step.rows.size());
        late.allowed_tokens[i].assign((vocab + 31) / 32, 0);
        sequence.constraint->allowed(late.allowed_tokens[i]);
      }
      if (spec.options.logits_processor) {
        late.logits.resize(step.rows.size());
        const float* from =
            step.logits.view().as<float>() +
            static_cast<std::size_t>(row.first_logit_row + row.logit_rows - 1) * vocab;
        late.logits[i].assign(from, from + vocab);
        spec.options.logits_processor({.request = sequence.request->id,
                                       .sample = sequence.sample,
                                       .tokens = sequence.tokens,
                                       .prompt_length = sequence.prompt_length,
                                       .logits = late.logits[i]});
      }
    } catch (...) {
      const Error error = current_error();
      finish(sequence, FinishReason::kError, &error, step.issued);
    }
  }
  return late;
}

/// Asks the memory for what delivering the rows after `row` will look at: thousands of sequences do
/// not stay in the core's own cache from step to step. Some rows apart, as one thing leads to the
/// next.
void StepRunner::prefetch_delivery(const std::vector<ScheduledRow>& rows, std::size_t row) const {
  constexpr std::size_t kFar = 12;
  constexpr std::size_t kNear = 6;
  if (row + kFar < rows.size()) prefetch(*rows[row + kFar].sequence);
  if (row + kNear < rows.size()) {
    const Sequence& near = *rows[row + kNear].sequence;
    __builtin_prefetch(near.tokens.data() + near.tokens.size());
    __builtin_prefetch(near.sink);
    cache_.prefetch(near.cache);
  }
}

/// Waits for the step and hands its results out. Throws what went wrong in the step.
void StepRunner::land(Step& step, const std::function<double()>& clock) {
  const StepResult& result = step.handle->wait();
  TENON_CHECK(result.sequences.size() == step.rows.size(), ErrorCode::kInternal,
              "[step] {} results for {} rows", result.sequences.size(), step.rows.size());
  const double now = clock();
  failures_in_a_row_ = 0;
  for (std::size_t i = 0; i < step.rows.size(); ++i) {
    prefetch_delivery(step.rows, i);
    if (step.rows[i].sequence->alone) scheduler_.cleared(*step.rows[i].sequence);
    deliver(step, step.rows[i], result.sequences[i], now);
  }
  note_iteration(step, now);
  host_times_.deliver = clock() - now;
}

void StepRunner::note_iteration(const Step& step, double now) {
  ++totals_.steps;
  totals_.host_seconds += step.host_seconds;
  totals_.step_seconds += now - std::max(step.issued, busy_until_);
  busy_until_ = now;
  IterationStatistics& it = last_iteration_;
  it = {};
  it.iteration = totals_.steps;
  it.timestamp = step.issued;
  it.latency_seconds = now - step.issued;
  it.host_seconds = step.host_seconds;
  it.queued_requests = waiting_requests_;
  it.active_requests = open_requests_ - waiting_requests_;
  for (const ScheduledRow& row : step.rows) {
    ++(row.context ? it.context_requests : it.generation_requests);
    if (row.context) it.context_tokens += row.tokens;
  }
  totals_.context_tokens += static_cast<std::uint64_t>(it.context_tokens);
  it.paused_requests = step.paused;
  it.completed_requests = totals_.finished_requests;
  it.kv_cache = cache_.statistics();
}

ExecutorStatistics StepRunner::statistics() const {
  ExecutorStatistics statistics = totals_;
  statistics.paused_sequences = scheduler_.paused();
  statistics.queued_requests = waiting_requests_;
  statistics.active_requests = open_requests_ - waiting_requests_;
  statistics.running_sequences = scheduler_.running();
  statistics.waiting_sequences = scheduler_.waiting();
  statistics.kv_cache = cache_.statistics();
  statistics.lost_workers = session_.lost_workers();
  return statistics;
}

}  // namespace tenon
