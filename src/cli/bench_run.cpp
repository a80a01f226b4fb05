// SPDX-License-Identifier: Apache-2.0
#include "cli/bench_run.h"

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <numeric>
#include <thread>

namespace tenon::cli {
namespace {

using Clock = std::chrono::steady_clock;

/// Shared with the callbacks, which may come after a run that failed has been left.
struct Progress {
  const Clock::time_point start = Clock::now();
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<RequestRecord> requests;
  std::int64_t under_way = 0;
  std::optional<Error> error;

  double now() const { return std::chrono::duration<double>(Clock::now() - start).count(); }

  void take(std::size_t index, const Response& response) {
    const double time = now();
    const std::lock_guard lock(mutex);
    RequestRecord& record = requests[index];
    if (!response.token_ids.empty()) {
      record.times.push_back(time);
      record.counts.push_back(static_cast<std::int64_t>(response.token_ids.size()));
    }
    if (!response.is_final) return;
    record.end = time;
    record.timing = response.timing;
    if (response.error && !error) error = response.error;
    --under_way;
    changed.notify_all();
  }
};

GenerationRequest request_of(const BenchRequest& wanted, const RunPlan& plan) {
  GenerationRequest request;
  request.input_token_ids = wanted.ids;
  request.sampling.temperature = 0;
  request.sampling.max_tokens = wanted.output_tokens;
  request.sampling.ignore_eos = plan.end_id < 0;
  if (plan.end_id >= 0) request.end_ids = {static_cast<std::int32_t>(plan.end_id)};
  request.streaming = true;
  request.options.cache_salt = plan.cache_salt;
  return request;
}

}  // namespace

std::int64_t RequestRecord::output_tokens() const {
  return std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
}

RunRecord run_requests(Executor& executor, const std::vector<BenchRequest>& requests,
                       const RunPlan& plan) {
  RunRecord record;
  executor.take_iteration_statistics();
  record.before = executor.statistics();
  const auto progress = std::make_shared<Progress>();
  progress->requests.resize(requests.size());
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const std::chrono::duration<double> due(plan.arrivals[i]);
    std::this_thread::sleep_until(progress->start +
                                  std::chrono::duration_cast<Clock::duration>(due));
    GenerationRequest request = request_of(requests[i], plan);
    {
      std::unique_lock lock(progress->mutex);
      progress->changed.wait(lock, [&] {
        return progress->error || plan.concurrency == 0 || progress->under_way < plan.concurrency;
      });
      if (progress->error) break;
      ++progress->under_way;
      progress->requests[i].sent = progress->now();
      progress->requests[i].prompt_tokens = static_cast<std::int64_t>(requests[i].ids.size());
    }
    executor.enqueue_request(std::move(request), [progress, i](const Response& response) {
      progress->take(i, response);
    });
  }
  std::unique_lock lock(progress->mutex);
  progress->changed.wait(lock, [&] { return progress->error || progress->under_way == 0; });
  if (progress->error) throw *progress->error;
  record.requests = progress->requests;
  lock.unlock();
  // The last response comes before its step is counted.
  for (record.after = executor.statistics();
       record.after.active_requests + record.after.queued_requests > 0;
       record.after = executor.statistics())
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  record.steps = executor.take_iteration_statistics();
  return record;
}

}  // namespace tenon::cli
