// The figures of a benchmark's run: rates, times, the share of what the memory's speed allows.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "cli/bench_run.h"
#include "cli/bench_spread.h"

namespace tenon::cli {

/// What a step must read at least, and how fast memory is; 0: not known.
struct BenchRoof {
  double bytes_per_second = 0;
  std::int64_t weight_bytes = 0;  ///< read by every step
  std::int64_t block_bytes = 0;   ///< of a block of the cache, averaged over its groups
};

struct BenchFigures {
  double seconds = 0;  ///< from the first request's start to the last one's end
  std::int64_t requests = 0;
  std::int64_t input_tokens = 0;
  std::int64_t output_tokens = 0;
  double output_rate = 0;  ///< tokens a second
  double total_rate = 0;   ///< of prompts and outputs
  double request_rate = 0;

  Spread ttft;         ///< seconds from sending to the first token
  Spread ttft_cached;  ///< of requests of which a prefix was found in the cache
  Spread ttft_fresh;   ///< of the others
  Spread itl;          ///< between one response of a request and the next
  Spread tpot;         ///< (latency - TTFT) / (tokens - 1), of requests with two tokens or more
  Spread latency;      ///< from sending to the last token
  Spread queued;       ///< from arrival to the first step

  double cache_hit_rate = 0;  ///< prompt tokens found in the cache over all
  std::uint64_t preemptions = 0;
  std::int64_t steps = 0;
  double rows_per_step = 0;  ///< sequences that ran
  double host_per_step = 0;  ///< seconds in which the host planned and prepared

  // Over the steps that only continued outputs.
  std::int64_t decode_steps = 0;
  double decode_seconds = 0;
  double decode_bytes = 0;  ///< weights and cache blocks held, summed
  double roof_share = 0;    ///< decode_bytes / (decode_seconds * bytes_per_second)
};

BenchFigures figures_of(const RunRecord& run, const BenchRoof& roof);

/// Output tokens a second in equal parts of the run; `width` is set to a part's seconds.
std::vector<double> output_rate_over_time(const RunRecord& run, std::size_t parts, double& width);

/// What the spreads were made of, for plots.
std::vector<double> first_token_times(const RunRecord& run);
std::vector<double> inter_token_times(const RunRecord& run);

}  // namespace tenon::cli
