// SPDX-License-Identifier: Apache-2.0
#include "cli/bench_figures.h"

#include <algorithm>

namespace tenon::cli {
namespace {

double over(double a, double b) { return b > 0 ? a / b : 0; }

double begin_of(const RunRecord& run) {
  double begin = run.requests.front().sent;
  for (const RequestRecord& request : run.requests) begin = std::min(begin, request.sent);
  return begin;
}

double end_of(const RunRecord& run) {
  double end = 0;
  for (const RequestRecord& request : run.requests) end = std::max(end, request.end);
  return end;
}

void add_steps(BenchFigures& figures, const RunRecord& run, const BenchRoof& roof) {
  std::int64_t rows = 0;
  double landed = 0;  // when the step before did
  for (const IterationStatistics& step : run.steps) {
    rows += step.context_requests + step.generation_requests;
    // A step is issued while the one before still runs.
    const double end = step.timestamp + step.latency_seconds;
    const double seconds = end - std::max(step.timestamp, landed);
    landed = end;
    if (step.context_requests > 0 || step.generation_requests == 0) continue;
    ++figures.decode_steps;
    figures.decode_seconds += seconds;
    figures.decode_bytes +=
        static_cast<double>(roof.weight_bytes) +
        static_cast<double>(step.kv_cache.used_blocks) * static_cast<double>(roof.block_bytes);
  }
  figures.steps = static_cast<std::int64_t>(run.steps.size());
  figures.rows_per_step = over(static_cast<double>(rows), static_cast<double>(run.steps.size()));
  figures.host_per_step = over(run.after.host_seconds - run.before.host_seconds,
                               static_cast<double>(run.after.steps - run.before.steps));
  figures.roof_share = over(figures.decode_bytes, figures.decode_seconds * roof.bytes_per_second);
}

}  // namespace

std::vector<double> first_token_times(const RunRecord& run) {
  std::vector<double> times;
  for (const RequestRecord& request : run.requests)
    if (!request.times.empty()) times.push_back(request.times.front() - request.sent);
  return times;
}

std::vector<double> inter_token_times(const RunRecord& run) {
  std::vector<double> times;
  for (const RequestRecord& request : run.requests)
    for (std::size_t i = 1; i < request.times.size(); ++i)
      times.push_back(request.times[i] - request.times[i - 1]);
  return times;
}

BenchFigures figures_of(const RunRecord& run, const BenchRoof& roof) {
  BenchFigures figures;
  std::vector<double> cached, fresh, tpot, latency, queued;
  std::int64_t reused = 0;
  for (const RequestRecord& request : run.requests) {
    figures.input_tokens += request.prompt_tokens;
    figures.output_tokens += request.output_tokens();
    reused += request.timing.reused_tokens;
    latency.push_back(request.end - request.sent);
    queued.push_back(request.timing.queued_seconds);
    if (request.times.empty()) continue;
    const double ttft = request.times.front() - request.sent;
    (request.timing.reused_tokens > 0 ? cached : fresh).push_back(ttft);
    if (request.output_tokens() > 1)
      tpot.push_back((request.times.back() - request.times.front()) /
                     static_cast<double>(request.output_tokens() - 1));
  }
  figures.requests = static_cast<std::int64_t>(run.requests.size());
  figures.seconds = end_of(run) - begin_of(run);
  figures.output_rate = over(static_cast<double>(figures.output_tokens), figures.seconds);
  figures.total_rate =
      over(static_cast<double>(figures.input_tokens + figures.output_tokens), figures.seconds);
  figures.request_rate = over(static_cast<double>(figures.requests), figures.seconds);
  figures.ttft = spread_of(first_token_times(run));
  figures.ttft_cached = spread_of(std::move(cached));
  figures.ttft_fresh = spread_of(std::move(fresh));
  figures.itl = spread_of(inter_token_times(run));
  figures.tpot = spread_of(std::move(tpot));
  figures.latency = spread_of(std::move(latency));
  figures.queued = spread_of(std::move(queued));
  figures.cache_hit_rate =
      over(static_cast<double>(reused), static_cast<double>(figures.input_tokens));
  figures.preemptions = run.after.paused_sequences - run.before.paused_sequences;
  add_steps(figures, run, roof);
  return figures;
}

std::vector<double> output_rate_over_time(const RunRecord& run, std::size_t parts, double& width) {
  const double begin = begin_of(run);
  width = std::max(end_of(run) - begin, 1e-9) / static_cast<double>(parts);
  std::vector<double> rates(parts, 0.0);
  for (const RequestRecord& request : run.requests)
    for (std::size_t i = 0; i < request.times.size(); ++i) {
      const auto part = static_cast<std::size_t>((request.times[i] - begin) / width);
      rates[std::min(part, parts - 1)] += static_cast<double>(request.counts[i]) / width;
    }
  return rates;
}

}  // namespace tenon::cli
