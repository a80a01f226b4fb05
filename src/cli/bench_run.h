// One run of a benchmark: sends requests to an executor and notes when each answer's tokens came.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/bench_workload.h"
#include "tenon/executor.h"

namespace tenon::cli {

/// Seconds of one clock, which begins with the run.
struct RequestRecord {
  double sent = 0;
  std::vector<double> times;         ///< when a response with tokens came
  std::vector<std::int64_t> counts;  ///< and how many tokens it had
  double end = 0;                    ///< the last response
  std::int64_t prompt_tokens = 0;
  RequestTiming timing{};

  std::int64_t output_tokens() const;
};

struct RunRecord {
  std::vector<RequestRecord> requests;
  std::vector<IterationStatistics> steps;
  ExecutorStatistics before{};
  ExecutorStatistics after{};
};

struct RunPlan {
  std::vector<double> arrivals;  ///< one a request: seconds from the start
  std::int64_t concurrency = 0;  ///< requests under way at most; 0: no limit
  std::int64_t end_id = -1;      ///< ends an output; -1: none does
  std::string cache_salt;        ///< runs with different ones share no cached prefixes
};

/// Throws what a request failed with. Greedy sampling, streamed.
RunRecord run_requests(Executor& executor, const std::vector<BenchRequest>& requests,
                       const RunPlan& plan);

}  // namespace tenon::cli
