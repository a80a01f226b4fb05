// The engine that a benchmark runs: loaded as `run` does it, or made of a config.json alone, with
// limits that fit the workload where the user set none.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cli/bench_figures.h"
#include "cli/bench_workload.h"
#include "tenon/executor.h"

namespace tenon::cli {

struct BenchEngine {
  std::vector<BenchRequest> requests;
  std::unique_ptr<Executor> executor;
  LlmOptions options;
  BenchRoof roof;
  std::int64_t planned_bytes = 0;
  double load_seconds =
      0;                ///< from the files, or the shape alone, to an executor that takes requests
  std::string weights;  ///< forms of the matrices, as in Precision
};

struct BenchEngineOptions {
  std::string path;
  bool dummy_weights = false;  ///< `path` is a config.json or the directory of one
  std::uint64_t seed = 0;      ///< of dummy weights
  std::string quantization;    ///< quant_algo of dummy weights; empty: what the config.json says
  LlmOptions run;
  std::int64_t concurrency = 0;        ///< requests under way at most; 0: all
  double memory_bytes_per_second = 0;  ///< 0: measure it, where the engine runs on the CPU
};

/// `make_requests` is called once with the vocabulary's size and the model's tokenizer (which
/// throws Error{kNotFound} where there is none).
using WorkloadMaker =
    std::function<std::vector<BenchRequest>(std::int64_t vocab_size, const TextEncoder& encode)>;

BenchEngine load_bench_engine(const BenchEngineOptions& options,
                              const WorkloadMaker& make_requests);

}  // namespace tenon::cli
