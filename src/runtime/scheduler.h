// Scheduler: which sequences run in the next step, with how many tokens, and which of them make
// room. Pure code over the cache's bookkeeping, with a given clock and no device.
//
// A step takes every running decode first, then contexts, cut to what is left of the step, so that
// a long prompt holds a decode up for one chunk at most; then it admits what waits, in order of
// priority and arrival. None overtakes a request that lacks room, and waiting makes up for a low
// priority, so nothing starves.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/sequence.h"
#include "tenon/scheduling.h"

namespace tenon {

struct SchedulerLimits {
  SchedulerPolicy policy = SchedulerPolicy::kGuaranteedNoEvict;
  ContextChunking chunking = ContextChunking::kFirstComeFirstServed;
  std::int64_t step_tokens = 0;    ///< tokens of one step
  std::int64_t context_chunk = 0;  ///< tokens of one sequence's chunk at most; 0: step_tokens
  std::int64_t sequences = 0;      ///< slots
  std::int64_t logit_rows = 0;     ///< rows of logits of one step; at least `sequences`
  std::int64_t tokens_per_block = 32;
  bool chunkable = true;          ///< a context may be cut into steps
  bool keeps_last_tokens = true;  ///< false: the host must know a token before it can run
};

/// A sequence's part in a step.
struct ScheduledRow {
  Sequence* sequence = nullptr;
  std::int64_t tokens = 0;
  std::int64_t first_token = 0;  ///< filled by the batch builder: position of its first token
  std::int64_t first_logit_row = 0;
  std::int64_t logit_rows = 0;
  bool context = false;       ///< it begins in the prompt
  bool context_rows = false;  ///< its rows are the prompt's, one a token
  bool samples = false;       ///< the step ends with its newest token
  bool draws = false;         ///< and draws the next, or candidates for it
};

/// Smaller goes first. A priority of 1 is worth this many seconds of waiting over one of 0.
inline constexpr double kPrioritySeconds = 30.0;
double queue_key(double arrival_seconds, double priority);

class Scheduler {
 public:
  Scheduler(const SchedulerLimits& limits, KvCache& cache);

  /// Before anything else with this sequence. Its request's key, id and sample must be set.
  static void make_queue_entry(Sequence& sequence);
  /// The sequence waits from now on. The caller keeps it alive until remove(). Allocates nothing.
  void enqueue(Sequence& sequence);
  /// It ended, whatever its state was: slot and blocks are free again.
  void remove(Sequence& sequence, double now);
  /// A running sequence makes room: it waits again and computes its tokens anew (those that are
  /// still found in the cache aside). `alone`: the next step with it has no other request in it.
  void pause(Sequence& sequence, double now, bool alone = false);

  /// Nobody waits or runs, every slot is free: for a cache that starts over. Allocates nothing; the
  /// caller calls forget_place() for all sequences and enqueues those that go on.
  void reset();
  /// The sequence has no slot and no hold on the cache (any more).
  static void forget_place(Sequence& sequence);

  /// Fills `rows`, decodes first. Sequences of the rows have a slot and room in the cache; their
  /// counts (computed, in_flight) are the caller's to move when the step is issued.
  void plan(double now, std::vector<ScheduledRow>& rows);

  /// The first in the queue; null: nobody waits.
  Sequence* next_waiting() const { return waiting_.empty() ? nullptr : *waiting_.begin(); }
  std::int64_t waiting() const { return static_cast<std::int64_t>(waiting_.size()); }
  std::int64_t running() const { return running_count_; }
  std::uint64_t paused() const { return paused_; }  ///< since the start
  const SchedulerLimits& limits() const { return limits_; }

  /// A held beam with slot and room runs from now on.
  void activate(Sequence& sequence);
  /// A running beam keeps slot and room, but does not run.
  void hold(Sequence& sequence);
  /// The same without slot and room, until it is enqueued again.
  void park(Sequence& sequence, double now);
  /// It ran alone and nothing failed.
  void cleared(Sequence& sequence);
  bool has_alone() const { return alone_ > 0; }

 private:
  bool waits_for_result(const Sequence& sequence) const;
  static bool at_its_end(const Sequence& sequence);
  /// Room up to `tokens` tokens, if need be by pausing others. False: it was paused itself.
  bool make_room(Sequence& sequence, std::int64_t tokens, double now) {
    return cache_.grow(sequence.cache, tokens, now, sequence.computed) ||
           pause_for(sequence, tokens, now);
  }
  bool pause_for(Sequence& sequence, std::int64_t tokens, double now);
  Sequence* least_valuable() const;
  std::int64_t context_share(const Sequence& sequence, std::int64_t wanted) const;
  void add_row(Sequence& sequence, std::int64_t tokens);
  void stop(Sequence& sequence);
  void forget_stopped();
  void plan_alone(double now);
  void prefetch_planning(std::size_t place) const;
  void plan_decodes(double now);
  void plan_contexts(double now);
  void admit(double now);
  bool start(Sequence& sequence, double now);
  bool hold_beams(ActiveRequest& request, const Sequence& first, double now);
  void release(Sequence& sequence, double now);
  void dequeue(Sequence& sequence);
  void free_all_slots();

  SchedulerLimits limits_;
  KvCache& cache_;
  bool has_windows_ = false;
  WaitingQueue waiting_;
  struct Running {
    Sequence* sequence = nullptr;  // null: it stopped since the last plan()
    std::int32_t slot = 0;
  };
  std::vector<Running> running_;             // in order of admission
  std::vector<std::int32_t> place_of_slot_;  // in running_
  bool some_stopped_ = false;                // there are nulls
  std::int64_t running_count_ = 0;
  std::vector<std::int32_t> free_slots_;
  std::int64_t alone_ = 0;  // waiting or running sequences that must run alone
  std::uint64_t paused_ = 0;

  // Of the plan being made.
  std::vector<ScheduledRow>* rows_ = nullptr;
  std::vector<Sequence*> contexts_;
  std::int64_t tokens_left_ = 0;
  std::int64_t logit_rows_left_ = 0;
};

}  // namespace tenon
