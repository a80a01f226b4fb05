// SessionStep: one step on every rank of a session. prepare, forward and sample are pieces of work
// in the ranks' queues; what one of them throws ends the step on that rank and is told by wait().
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <vector>

#include "backends/backend.h"

namespace tenon {

class SessionStep : public StepHandle {
 public:
  SessionStep(int ranks, int sampling_rank)
      : errors_(static_cast<std::size_t>(ranks)),
        results_(static_cast<std::size_t>(ranks)),
        sampling_rank_(static_cast<std::size_t>(sampling_rank)) {}

  /// Wraps a piece of work for the rank's queue. The last one, sample(), gives the result. `self`
  /// is this step: the work keeps it alive.
  std::function<void()> piece(const std::shared_ptr<SessionStep>& self, int rank,
                              std::function<std::shared_ptr<StepHandle>()> work);
  void add(std::future<void> pending) { pending_.push_back(std::move(pending)); }

  /// A rank has taken over the batch; in its thread.
  void rank_prepared() { ++prepared_; }
  bool is_prepared() const { return prepared_ == static_cast<int>(errors_.size()); }

  /// Throws what ended the step on the rank, if something did. In the rank's own thread.
  void check(int rank) const;

  bool ready() const override;
  const StepResult& wait() override;

 private:
  std::atomic<int> prepared_{0};                      // ranks
  std::vector<std::exception_ptr> errors_;            // one a rank, written by its thread
  std::vector<std::shared_ptr<StepHandle>> results_;  // likewise
  std::size_t sampling_rank_;
  std::vector<std::future<void>> pending_;
  std::exception_ptr failure_;
};

/// Whether preparing the batch changes what belongs to sequences that are not in it.
bool changes_others(const Batch& batch);

}  // namespace tenon
