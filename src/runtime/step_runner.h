// StepRunner: runs steps over all requests in flight, one step ahead of their results. It knows no
// threads and no locks: RequestLoop gives it a thread, tests call it by hand.
//
// iterate() plans step n + 1 and issues it while step n still runs, then takes step n's tokens.
// Rows whose sampling needs the host (token masks, logits processors) are sampled after that, in
// the same step; sequences whose next row needs a host decision (beams, pipelines) sit one step
// out.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "engine/session.h"
#include "runtime/kv_cache.h"
#include "runtime/scheduler.h"
#include "tenon/scheduling.h"
#include "tenon/statistics.h"

namespace tenon {

struct StepRunnerOptions {
  SchedulerPolicy policy = SchedulerPolicy::kGuaranteedNoEvict;
  ContextChunking chunking = ContextChunking::kFirstComeFirstServed;
  std::int64_t context_chunk = 0;
  bool reuse = true;
  bool partial_reuse = true;
  std::int64_t cache_events = 0;
  bool run_ahead = true;  ///< false: a step's result is awaited before the next is planned
};

/// Host seconds of the parts of one iterate(), the session's own work aside.
struct StepHostTimes {
  double plan = 0;     ///< which rows run
  double build = 0;    ///< the batch, and the sequences' counts
  double deliver = 0;  ///< of the step that landed
};

class StepRunner {
 public:
  StepRunner(Session& session, const StepRunnerOptions& options);
  ~StepRunner();

  /// Takes the request in. Its sequences are made here; where they cannot be, it ends at once with
  /// kError. Nothing is thrown.
  void add(RequestId id, std::shared_ptr<const Request> spec, std::uint64_t seed,
           std::int64_t max_new_tokens, double now);
  /// Ends a request, or one sample of it. Nothing happens where it has ended.
  void cancel(RequestId id, int sample, double now);
  /// Ends every request whose id is less than `id`.
  void cancel_before(RequestId id, double now);
  /// Ends what has passed its time limits.
  void expire(double now);
  /// Seconds until the next time limit; nothing where none is set.
  std::optional<double> next_deadline() const;

  /// Issues a step and takes the results of the one before. Requests that fail end; nothing is
  /// thrown. Where memory ran out in the bookkeeping itself, the cache starts over and requests
  /// compute their tokens anew. False: there was nothing to do.
  bool iterate(const std::function<double()>& clock);
  bool busy() const { return !requests_.empty(); }
  /// Prompt tokens of requests of which nothing ran yet.
  std::int64_t waiting_tokens() const { return waiting_tokens_; }
  void end_all(FinishReason reason, const Error* error, double now);

  /// Set where the session cannot go on: nothing may be added any more.
  const std::optional<Error>& failure() const { return failure_; }

  ExecutorStatistics statistics() const;
  /// Of the step that landed last; its iteration is 0 before the first.
  const IterationStatistics& last_iteration() const { return last_iteration_; }
  const StepHostTimes& host_times() const { return host_times_; }  ///< of the last iterate()
  KvCache& cache() { return cache_; }
  const Scheduler& scheduler() const { return scheduler_; }

 private:
  struct Step {
    std::vector<ScheduledRow> rows;
    std::shared_ptr<StepHandle> handle;
    Tensor logits;  // where a row wants them
    Tensor hidden;
    bool counted = false;      // the sequences' counts include it
    bool forwarded = false;    // the session was given it
    std::uint64_t paused = 0;  // by its plan
    double issued = 0;
    double host_seconds = 0;
  };

  // step_runner.cpp
  void take_in(RequestId id, std::shared_ptr<const Request> spec, std::uint64_t seed,
               std::int64_t max_new_tokens, double now);
  bool iterate_once(const std::function<double()>& clock);
  bool iterate_landing(const std::function<double()>& clock);
  bool issue(Step& step, const std::function<double()>& clock);
  void sample_late(Step& step);
  LateInputs late_inputs(Step& step);
  void hand_out_taps(Sequence& sequence, double now);
  void land(Step& step, const std::function<double()>& clock);
  void prefetch_delivery(const std::vector<ScheduledRow>& rows, std::size_t row) const;
  void note_iteration(const Step& step, double now);

  // step_recovery.cpp
  void step_failed(Step& step, Step* newer, const Error& error, double now);
  void undo(Step& step);
  void mark_parts(const Step& step, ActiveRequest::Part part, int& marked);
  void restart(ActiveRequest& request, bool alone, double now);
  bool restart_beams(ActiveRequest& request, double now);
  void start_over(const std::function<double()>& clock);
  void stuck(double now);

  // step_delivery.cpp
  void deliver(const Step& step, const ScheduledRow& row, const SequenceResult& result, double now);
  std::int64_t committable(const ScheduledRow& row) const;
  void commit(const ScheduledRow& row, double now);
  void hand_out_rows(const Step& step, const ScheduledRow& row);
  void take_token(Sequence& sequence, const SequenceResult& result, double now);
  static std::span<const float> logit_rows(const Step& step, const ScheduledRow& row,
                                           std::int64_t first, std::int64_t count);
  void take_candidates(const Step& step, const ScheduledRow& row, const SequenceResult& result,
                       double now);
  void hand_out_beam(const ActiveRequest& request, int beam, BeamSearch::Finished& found);
  void release_held(ActiveRequest& request);
  void finish_beams(ActiveRequest& request, FinishReason reason, double now);
  void finish(Sequence& sequence, FinishReason reason, const Error* error, double now);
  void finish_request(ActiveRequest& request, FinishReason reason, const Error* error, double now);
  void tell_finish(ActiveRequest& request, int sample, FinishReason reason, const Error* error,
                   double now);
  void erase_ended();

  Session& session_;
  StepRunnerOptions options_;
  KvCache cache_;
  Scheduler scheduler_;
  std::unordered_map<RequestId, std::unique_ptr<ActiveRequest>> requests_;
  std::set<std::pair<double, RequestId>> deadlines_;
  std::vector<RequestId> ended_;  // to be erased once no step in flight has a row of them
  std::optional<Step> flying_;
  std::vector<std::vector<ScheduledRow>> spare_rows_;  // vectors to use again
  std::vector<const ScheduledRow*> to_commit_;         // of the step being issued
  std::optional<Error> failure_;
  std::int64_t waiting_tokens_ = 0;
  std::int64_t waiting_requests_ = 0;  // of which nothing ran yet
  std::int64_t open_requests_ = 0;     // that have not ended
  std::uint64_t lost_workers_ = 0;     // Session::lost_workers() when a step failed last
  int failures_in_a_row_ = 0;
  int failed_plans_in_a_row_ = 0;
  std::optional<Error> plan_error_;
  ExecutorStatistics totals_;
  IterationStatistics last_iteration_;
  StepHostTimes host_times_;
  double busy_until_ = 0;  // when the last step landed
};

}  // namespace tenon
