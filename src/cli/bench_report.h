// A benchmark's outcome as a table, as JSON, and as a page with plots.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "cli/bench_figures.h"

namespace tenon::cli {

struct BenchOutcome {
  std::string mode;                                           ///< "throughput", "latency"
  std::string model;                                          ///< as it was named
  std::vector<std::pair<std::string, std::string>> settings;  ///< flag → value, as they were used
  BenchRoof roof;
  std::int64_t planned_bytes = 0;  ///< of memory
  std::int64_t peak_bytes = 0;     ///< resident, with mapped files; 0: the system does not tell
  double load_seconds = 0;
  std::vector<double> run_rates;  ///< output tokens a second of each run
  BenchFigures figures;           ///< of the median run
  RunRecord run;                  ///< likewise
};

std::string as_table(const BenchOutcome& outcome);
/// Times are in seconds.
std::string as_json(const BenchOutcome& outcome);
/// An .svg picture, or the same in an .html page: distributions of TTFT and ITL, tokens a second
/// over time. Nothing outside the text is needed.
std::string as_svg(const BenchOutcome& outcome);
std::string as_html(const BenchOutcome& outcome);

}  // namespace tenon::cli
