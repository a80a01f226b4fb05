// SPDX-License-Identifier: Apache-2.0
#include "engine/session_step.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "engine/rank_worker.h"

namespace tenon {

std::function<void()> SessionStep::piece(const std::shared_ptr<SessionStep>& self, int rank,
                                         std::function<std::shared_ptr<StepHandle>()> work) {
  return [self, at = static_cast<std::size_t>(rank), work = std::move(work)] {
    if (self->errors_[at]) return;
    try {
      self->results_[at] = work();
      if (self->errors_.size() > 1 && self->results_[at]) self->results_[at]->wait();
    } catch (...) {
      self->errors_[at] = std::current_exception();
      if (self->errors_.size() > 1) throw;  // the worker frees the other ranks
    }
  };
}

void SessionStep::check(int rank) const {
  if (const auto& error = errors_[static_cast<std::size_t>(rank)]) std::rethrow_exception(error);
}

bool SessionStep::ready() const {
  return std::all_of(pending_.begin(), pending_.end(), [](const std::future<void>& one) {
    return one.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  });
}

const StepResult& SessionStep::wait() {
  if (!pending_.empty()) try {
      std::vector<std::future<void>> pending = std::exchange(pending_, {});
      wait_all(pending);
    } catch (...) {
      failure_ = std::current_exception();
    }
  if (failure_) std::rethrow_exception(failure_);
  for (const std::exception_ptr& error : errors_)
    if (error) std::rethrow_exception(error);
  return results_[sampling_rank_]->wait();
}

bool changes_others(const Batch& batch) {
  return !batch.commands.empty() ||
         std::any_of(batch.updates.begin(), batch.updates.end(), [&](const SlotUpdate& update) {
           return std::find(batch.slots.begin(), batch.slots.end(), update.slot) ==
                  batch.slots.end();
         });
}

}  // namespace tenon
