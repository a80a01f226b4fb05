// SPDX-License-Identifier: Apache-2.0
#include "runtime/scheduler.h"

#include <algorithm>
#include <tuple>

#include "core/check.h"

namespace tenon {

double queue_key(double arrival_seconds, double priority) {
  return arrival_seconds - kPrioritySeconds * priority;
}

namespace {

auto order_of(const Sequence& sequence) {
  return std::tuple(sequence.request->queue_key, sequence.request->id, sequence.sample);
}

}  // namespace

bool QueueOrder::operator()(const Sequence* a, const Sequence* b) const {
  return order_of(*a) < order_of(*b);
}

Scheduler::Scheduler(const SchedulerLimits& limits, KvCache& cache)
    : limits_(limits),
      cache_(cache),
      has_windows_(std::any_of(cache.settings().groups.begin(), cache.settings().groups.end(),
                               [](const KvCacheGroup& group) { return group.window > 0; })) {
  TENON_ASSERT(limits_.step_tokens >= limits_.sequences && limits_.logit_rows >= limits_.sequences);
  free_all_slots();
  // Beams may stop and go on in one step.
  running_.reserve(2 * static_cast<std::size_t>(limits_.sequences));
  place_of_slot_.resize(static_cast<std::size_t>(limits_.sequences));
}

void Scheduler::free_all_slots() {
  free_slots_.clear();
  free_slots_.reserve(static_cast<std::size_t>(limits_.sequences));
  for (std::int64_t slot = limits_.sequences; slot-- > 0;)
    free_slots_.push_back(static_cast<std::int32_t>(slot));
}

void Scheduler::make_queue_entry(Sequence& sequence) {
  WaitingQueue alone;
  alone.insert(&sequence);
  sequence.queue_entry = alone.extract(alone.begin());
}

void Scheduler::enqueue(Sequence& sequence) {
  TENON_ASSERT(!sequence.queue_entry.empty());
  sequence.state = Sequence::State::kWaiting;
  waiting_.insert(std::move(sequence.queue_entry));
  if (sequence.alone) ++alone_;
}

void Scheduler::dequeue(Sequence& sequence) { sequence.queue_entry = waiting_.extract(&sequence); }

void Scheduler::reset() {
  while (!waiting_.empty()) dequeue(**waiting_.begin());
  running_.clear();
  some_stopped_ = false;
  running_count_ = 0;
  alone_ = 0;
  free_all_slots();
}

/// Where the cache cannot let go (memory ran out in it) it is in doubt, and starts over soon.
void Scheduler::release(Sequence& sequence, double now) {
  if (sequence.slot >= 0) free_slots_.push_back(sequence.slot);
  if (sequence.cache >= 0 && !cache_.in_doubt()) try {
      cache_.release(sequence.cache, now);
    } catch (const std::exception&) {
      cache_.doubt();
    }
  forget_place(sequence);
}

void Scheduler::forget_place(Sequence& sequence) {
  sequence.slot = -1;
  sequence.cache = -1;
  sequence.announced = false;
  sequence.committed_blocks = 0;
  sequence.parent_slot = -1;
  sequence.chosen_token = -1;
}

void Scheduler::remove(Sequence& sequence, double now) {
  using State = Sequence::State;
  if (sequence.state == State::kEnded) return;
  if (sequence.state == State::kWaiting) dequeue(sequence);
  if (sequence.state == State::kRunning) stop(sequence);  // its owner may free it now
  if (sequence.alone) cleared(sequence);
  release(sequence, now);
  sequence.state = State::kEnded;
}

void Scheduler::pause(Sequence& sequence, double now, bool alone) {
  TENON_ASSERT(sequence.state == Sequence::State::kRunning);
  stop(sequence);
  ++paused_;
  if (sequence.alone) --alone_;  // enqueue() counts it again
  sequence.alone = sequence.alone || alone;
  ++sequence.request->timing.preemptions;
  release(sequence, now);
  sequence.computed = 0;
  enqueue(sequence);
}

void Scheduler::cleared(Sequence& sequence) {
  if (sequence.alone) --alone_;
  sequence.alone = false;
}

void Scheduler::activate(Sequence& sequence) {
  TENON_ASSERT(sequence.slot >= 0 && sequence.cache >= 0);
  if (sequence.state == Sequence::State::kRunning) return;
  sequence.state = Sequence::State::kRunning;
  place_of_slot_[static_cast<std::size_t>(sequence.slot)] =
      static_cast<std::int32_t>(running_.size());
  running_.push_back({&sequence, sequence.slot});
  ++running_count_;
}

void Scheduler::park(Sequence& sequence, double now) {
  hold(sequence);
  release(sequence, now);
  sequence.computed = 0;
}

void Scheduler::hold(Sequence& sequence) {
  if (sequence.state == Sequence::State::kRunning) stop(sequence);
  sequence.state = Sequence::State::kHeld;
}

inline bool Scheduler::waits_for_result(const Sequence& sequence) const {
  return sequence.unknown_tokens > 0 &&
         (!limits_.keeps_last_tokens || (!sequence.simple && sequence.request->is_beam_search()));
}

inline bool Scheduler::at_its_end(const Sequence& sequence) {
  return sequence.unknown_tokens > 0 && sequence.generated() >= sequence.max_new_tokens;
}

inline void Scheduler::add_row(Sequence& sequence, std::int64_t tokens) {
  const bool samples = tokens == sequence.pending();
  const std::int64_t logit_rows = sequence.hands_out_context_rows() ? tokens : (samples ? 1 : 0);
  tokens_left_ -= tokens;
  logit_rows_left_ -= logit_rows;
  rows_->push_back({.sequence = &sequence, .tokens = tokens, .logit_rows = logit_rows});
}

void Scheduler::plan(double now, std::vector<ScheduledRow>& rows) {
  rows.clear();
  rows_ = &rows;
  tokens_left_ = limits_.step_tokens;
  logit_rows_left_ = limits_.logit_rows;
  forget_stopped();
  const bool was_idle = running_.empty();
  if (alone_ > 0) {
    plan_alone(now);
    if (!rows.empty()) return;
  }
  plan_decodes(now);
  plan_contexts(now);
  if (alone_ == 0 && (limits_.policy != SchedulerPolicy::kStaticBatch || was_idle)) admit(now);
}

/// A running sequence does not run any more; it has its slot still.
void Scheduler::stop(Sequence& sequence) {
  const std::int32_t place = place_of_slot_[static_cast<std::size_t>(sequence.slot)];
  Running& entry = running_[static_cast<std::size_t>(place)];
  TENON_ASSERT(entry.sequence == &sequence);
  entry.sequence = nullptr;
  some_stopped_ = true;
  --running_count_;
}

/// running_ keeps the order of admission; who stopped is dropped here, all in one pass.
void Scheduler::forget_stopped() {
  if (!some_stopped_) return;
  some_stopped_ = false;
  std::size_t kept = 0;
  for (const Running& entry : running_) {
    if (entry.sequence == nullptr) continue;
    place_of_slot_[static_cast<std::size_t>(entry.slot)] = static_cast<std::int32_t>(kept);
    running_[kept++] = entry;
  }
  running_.resize(kept);
}

void Scheduler::plan_alone(double now) {
  Sequence* one = nullptr;
  for (const Running& entry : running_)
    if (entry.sequence->alone) one = entry.sequence;
  if (one == nullptr) {
    const auto found = std::find_if(waiting_.begin(), waiting_.end(),
                                    [](const Sequence* sequence) { return sequence->alone; });
    if (found == waiting_.end() || !start(**found, now)) return;
    one = running_.back().sequence;
  }
  if (one->pending() == 0 || waits_for_result(*one) || at_its_end(*one)) return;
  const std::int64_t tokens = context_share(*one, tokens_left_);
  if (tokens > 0 && make_room(*one, one->computed + tokens, now)) add_row(*one, tokens);
}

/// Asks the memory for what planning the sequences after the one at `place` will look at: thousands
/// of them do not stay in the core's own cache from step to step.
inline void Scheduler::prefetch_planning(std::size_t place) const {
  const auto ahead = [&](std::size_t places) {
    return place + places < running_.size() ? running_[place + places].sequence : nullptr;
  };
  if (const Sequence* far = ahead(12)) prefetch(*far);
  if (const Sequence* near = ahead(6)) cache_.prefetch(near->cache);
}

void Scheduler::plan_decodes(double now) {
  contexts_.clear();
  // By index: making room may pause sequences, which nulls their entries.
  for (std::size_t i = 0; i < running_.size(); ++i) {
    prefetch_planning(i);
    Sequence* sequence = running_[i].sequence;
    if (sequence == nullptr) continue;
    const std::int64_t pending = sequence->pending();
    if (pending == 0 || waits_for_result(*sequence) || at_its_end(*sequence)) continue;
    if (pending > 1)
      contexts_.push_back(sequence);
    else if (tokens_left_ > 0 && make_room(*sequence, sequence->computed + 1, now))
      add_row(*sequence, 1);
  }
}

std::int64_t Scheduler::context_share(const Sequence& sequence, std::int64_t wanted) const {
  const std::int64_t pending = sequence.pending();
  std::int64_t share = std::min({pending, wanted, tokens_left_});
  // An engine that cannot cut a context runs it whole, in a step where it fits.
  if (!limits_.chunkable) return share == pending && logit_rows_left_ > 0 ? share : 0;
  if (limits_.context_chunk > 0) share = std::min(share, limits_.context_chunk);
  if (sequence.hands_out_context_rows())
    share = std::min(share, logit_rows_left_);
  else if (share == pending && logit_rows_left_ == 0)
    --share;
  if (share == pending) return share;
  // Chunks end with a block where one ends inside, so that the next begins with a whole one.
  const std::int64_t end = (sequence.computed + share) / limits_.tokens_per_block;
  const std::int64_t whole = end * limits_.tokens_per_block - sequence.computed;
  return whole > 0 ? whole : share;
}

void Scheduler::plan_contexts(double now) {
  auto left = static_cast<std::int64_t>(contexts_.size());
  for (Sequence* sequence : contexts_) {
    const bool equal = limits_.chunking == ContextChunking::kEqualProgress;
    const std::int64_t fair = std::max(tokens_left_ / left--, limits_.tokens_per_block);
    if (sequence->state != Sequence::State::kRunning) continue;  // paused for another
    const std::int64_t share = context_share(*sequence, equal ? fair : tokens_left_);
    if (share > 0 && make_room(*sequence, sequence->computed + share, now))
      add_row(*sequence, share);
  }
}

/// Room where there was none, by pausing others. False: it was paused itself.
bool Scheduler::pause_for(Sequence& sequence, std::int64_t tokens, double now) {
  do {
    Sequence* victim = least_valuable();
    TENON_CHECK(victim != nullptr, ErrorCode::kInternal,
                "[scheduler] no room for {} tokens and nobody to pause", tokens);
    const auto row = std::find_if(rows_->begin(), rows_->end(),
                                  [&](const ScheduledRow& r) { return r.sequence == victim; });
    if (row != rows_->end()) {
      tokens_left_ += row->tokens;
      logit_rows_left_ += row->logit_rows;
      rows_->erase(row);
    }
    pause(*victim, now);
    if (victim == &sequence) return false;
  } while (!cache_.grow(sequence.cache, tokens, now, sequence.computed));
  return true;
}

/// Of those that may be paused: least priority, latest come.
Sequence* Scheduler::least_valuable() const {
  Sequence* worst = nullptr;
  for (const Running& entry : running_) {
    Sequence* sequence = entry.sequence;
    if (sequence == nullptr || sequence->request->is_beam_search()) continue;
    if (worst == nullptr || order_of(*worst) < order_of(*sequence)) worst = sequence;
  }
  return worst;
}

void Scheduler::admit(double now) {
  while (!waiting_.empty() && tokens_left_ > 0 && !free_slots_.empty()) {
    Sequence& next = **waiting_.begin();
    // One that was paused may have a result to come still. In order: none overtakes.
    if (next.in_flight > 0) return;
    if (!limits_.chunkable && next.pending() > tokens_left_) return;
    if (!start(next, now)) return;
    const std::int64_t share = context_share(next, tokens_left_);
    if (share > 0 && make_room(next, next.computed + share, now)) add_row(next, share);
  }
}

bool Scheduler::start(Sequence& sequence, double now) {
  ActiveRequest& request = *sequence.request;
  if (request.slots_at_start() > static_cast<std::int64_t>(free_slots_.size())) return false;
  const bool reuse = !sequence.hands_out_context_rows() && request.spec->taps.empty();
  const bool guaranteed =
      limits_.policy != SchedulerPolicy::kMaxUtilization || request.is_beam_search();
  const std::int64_t reserve = guaranteed ? sequence.longest : sequence.length() + 1;
  const std::int64_t shareable = sequence.prompt_length - 1;
  const Sequence* leader = sequence.fork_of;
  // A window may have given the prompt's blocks back; then what is findable has to do.
  if (leader != nullptr && !has_windows_ && leader->state == Sequence::State::kRunning &&
      leader->computed > shareable && sequence.generated() == 0 && shareable > 0 &&
      cache_.can_fork(leader->cache, shareable)) {
    const auto handle = cache_.fork(leader->cache, shareable, reserve, now);
    if (!handle) return false;
    sequence.cache = *handle;
    sequence.computed = shareable;
  } else {
    const auto started = cache_.start({.tokens = sequence.tokens,
                                       .salt = request.spec->options.cache_salt,
                                       .retention = &request.spec->options.retention,
                                       .reuse = reuse,
                                       .reserve_tokens = reserve,
                                       .prompt_tokens = sequence.prompt_length},
                                      now);
    if (!started) return false;
    sequence.cache = started->handle;
    sequence.computed = started->cached_tokens;
    sequence.committed_blocks = sequence.computed / limits_.tokens_per_block;
    if (!sequence.began) request.timing.reused_tokens = started->cached_tokens;
  }
  if (request.is_beam_search() && !hold_beams(request, sequence, now)) {
    cache_.release(sequence.cache, now);
    sequence.cache = -1;
    sequence.computed = 0;
    return false;
  }
  dequeue(sequence);
  sequence.slot = free_slots_.back();
  free_slots_.pop_back();
  sequence.announced = false;
  activate(sequence);
  sequence.began = true;
  return true;
}

/// Slots and room for the beams besides the first: they share its prompt when their turn comes.
bool Scheduler::hold_beams(ActiveRequest& request, const Sequence& first, double now) {
  const std::int64_t shared = first.prompt_length / limits_.tokens_per_block;
  for (auto& beam : request.sequences) {
    if (beam.get() == &first) continue;
    const auto handle = cache_.fork(first.cache, 0, first.longest, now, shared);
    if (!handle) {
      for (auto& other : request.sequences)
        if (other.get() != &first) release(*other, now);
      return false;
    }
    beam->cache = *handle;
    beam->slot = free_slots_.back();
    free_slots_.pop_back();
    beam->state = Sequence::State::kHeld;
  }
  return true;
}

}  // namespace tenon
