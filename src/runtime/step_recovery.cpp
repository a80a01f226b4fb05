// StepRunner when a step or its bookkeeping failed: who is at fault, who begins again.
// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "runtime/current_error.h"
#include "runtime/step_runner.h"

namespace tenon {
namespace {

/// A request that fails alone this often in a row, with nothing that succeeds between, shows that
/// it is the session that is broken.
constexpr int kFailuresThatCondemn = 3;

/// A request that was there when so many worker processes went away ends with the last of them:
/// each gave it a token or a chunk perhaps, and cost a load.
constexpr int kWorkersOfARequest = 3;

/// Plans that may fail in a row before they cost a request: the first that would run.
constexpr int kPlansThatMayFail = 2;

const Error kNoRoom(ErrorCode::kResourceExhausted,
                    "[scheduler] the request needs more cache or more slots than there are");

}  // namespace

/// Takes the step's part out of the sequences' counts, as if it had never been issued.
void StepRunner::undo(Step& step) {
  if (!step.counted) return;
  step.counted = false;
  for (const ScheduledRow& row : step.rows) {
    Sequence& sequence = *row.sequence;
    --sequence.in_flight;
    if (!row.draws) continue;
    --sequence.unknown_tokens;
    if (sequence.request->beams) --sequence.request->candidates_due;
  }
}

/// A step failed: who was in it alone is at fault and ends; of several each runs alone next. What
/// was issued after it (`newer`) saw its results and is run again. Where a worker process went away
/// (anybody may have killed it) who was alone may try again, once; where the device is lost to this
/// process all end.
void StepRunner::step_failed(Step& step, Step* newer, const Error& error, double now) {
  ++totals_.failed_steps;
  const std::uint64_t lost = session_.lost_workers();
  const bool worker_went = std::exchange(lost_workers_, lost) != lost;
  if (newer != nullptr && newer->forwarded) try {
      if (!newer->handle) newer->handle = session_.sample({});
      newer->handle->wait();
    } catch (...) {
      // It is undone either way.
    }
  undo(step);
  if (newer != nullptr) undo(*newer);
  // Blocks that it was to write, copy or swap can be found since it was issued, and others may hold
  // them already. With a worker process all of the cache is gone.
  if (worker_went)
    cache_.doubt();
  else
    cache_.doubt_recent();
  using Part = ActiveRequest::Part;
  if (session_.device_lost()) {
    failure_ = error;
    return end_all(FinishReason::kError, &error, now);
  }
  int suspects = 0;
  int bystanders = 0;
  mark_parts(step, Part::kSuspect, suspects);
  // A process may go before it tells of a step that it did end: the one behind it is suspect too.
  if (newer != nullptr && worker_went) mark_parts(*newer, Part::kSuspect, suspects);
  if (newer != nullptr) mark_parts(*newer, Part::kBystander, bystanders);
  bool again = false;
  for (const Step* one : {static_cast<const Step*>(&step), static_cast<const Step*>(newer)}) {
    if (one == nullptr) continue;
    for (const ScheduledRow& row : one->rows) {
      ActiveRequest& request = *row.sequence->request;
      const Part part = std::exchange(request.part, Part::kNone);
      if (part == Part::kBystander) restart(request, false, now);
      if (part != Part::kSuspect) continue;
      if (worker_went) ++request.lost_workers;
      const bool may_try =
          suspects > 1 ? request.lost_workers < kWorkersOfARequest
                       : worker_went && request.lost_workers == 1 && failures_in_a_row_ == 0;
      again = again || may_try;
      if (may_try)
        restart(request, true, now);
      else
        finish_request(request, FinishReason::kError, &error, now);
    }
  }
  if (again || ++failures_in_a_row_ < kFailuresThatCondemn) return;
  failure_ = error;
  end_all(FinishReason::kError, &error, now);
}

/// Requests with a row in the step that have no part yet, and have not ended.
void StepRunner::mark_parts(const Step& step, ActiveRequest::Part part, int& marked) {
  for (const ScheduledRow& row : step.rows) {
    ActiveRequest& request = *row.sequence->request;
    if (!row.sequence->is_alive() || request.part != ActiveRequest::Part::kNone) continue;
    request.part = part;
    ++marked;
  }
}

/// What it has in the cache is doubtful: it computes its tokens anew, and draws the same again.
void StepRunner::restart(ActiveRequest& request, bool alone, double now) {
  if (!request.beams) {
    for (auto& sequence : request.sequences)
      if (sequence->state == Sequence::State::kRunning) scheduler_.pause(*sequence, now, alone);
    return;
  }
  if (!restart_beams(request, now)) return;
  Sequence& first = *request.sequences.front();
  if (first.state == Sequence::State::kWaiting) return;
  for (auto& sequence : request.sequences) scheduler_.park(*sequence, now);
  const bool was_alone = first.alone;
  scheduler_.cleared(first);  // enqueue() counts it again
  first.alone = was_alone || alone;
  scheduler_.enqueue(first);
}

/// The search begins anew. False: there is no memory for it, and the request has ended.
bool StepRunner::restart_beams(ActiveRequest& request, double now) {
  const Request& spec = *request.spec;
  try {
    request.beams = std::make_unique<BeamSearch>(
        spec.sampling, spec.sampling.ignore_eos ? std::vector<std::int32_t>{} : spec.end_ids,
        request.sequences.front()->max_new_tokens);
    for (auto& sequence : request.sequences) {
      sequence->tokens = spec.input_ids;
      sequence->beam = 0;
      if (spec.options.constraint) sequence->constraint = spec.options.constraint->fresh();
    }
  } catch (...) {
    const Error error = current_error();
    finish_request(request, FinishReason::kError, &error, now);
    return false;
  }
  request.candidates.clear();
  request.candidate_logits.clear();
  request.candidates_due = 0;
  return true;
}

/// The cache is in doubt: what is in flight lands, then everything that goes on waits for its turn
/// again, and computes anew what the cache does not have of it any more.
void StepRunner::start_over(const std::function<double()>& clock) {
  while (flying_) iterate_landing(clock);
  const double now = clock();
  scheduler_.reset();
  cache_.reset(now);
  using State = Sequence::State;
  for (auto& [id, request] : requests_) {
    Sequence& first = *request->sequences.front();
    for (auto& sequence : request->sequences) {
      Scheduler::forget_place(*sequence);
      sequence->computed = 0;
      if (sequence->state == State::kRunning) ++request->timing.preemptions;
      if (sequence->state == State::kEnded) continue;
      const bool waits =
          request->beams ? sequence.get() == &first : sequence->state != State::kHeld;
      sequence->state = State::kHeld;
      if (waits) scheduler_.enqueue(*sequence);
    }
    if (request->beams && request->open_samples > 0) restart_beams(*request, now);
  }
  if (failed_plans_in_a_row_ >= kPlansThatMayFail)
    if (Sequence* next = scheduler_.next_waiting())
      finish_request(*next->request, FinishReason::kError, &*plan_error_, now);
  erase_ended();
}

/// Nothing runs and nothing could be started: what waits can never start.
void StepRunner::stuck(double now) {
  Sequence* next = scheduler_.next_waiting();
  if (next != nullptr)
    finish_request(*next->request, FinishReason::kError, &kNoRoom, now);
  else if (ended_.empty())
    end_all(FinishReason::kError, &kNoRoom, now);
}

}  // namespace tenon
