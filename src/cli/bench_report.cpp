// SPDX-License-Identifier: Apache-2.0
#include "cli/bench_report.h"

#include <fmt/core.h>

#include "core/json.h"
#include "core/ledger.h"

namespace tenon::cli {
namespace {

constexpr double kMilli = 1e3;

std::string row_of(const char* name, const Spread& spread) {
  if (spread.count == 0) return {};
  return fmt::format("{:<24}{:>10.2f}{:>10.2f}{:>10.2f}{:>10.2f}{:>10.2f}\n", name,
                     kMilli * spread.mean, kMilli * spread.p50, kMilli * spread.p90,
                     kMilli * spread.p99, kMilli * spread.max);
}

std::string roof_line(const BenchFigures& figures, const BenchRoof& roof) {
  if (figures.decode_steps == 0) return {};
  const double steps = static_cast<double>(figures.decode_steps);
  std::string text = fmt::format(
      "decode step         {:.3f} ms, reads at least {}", kMilli * figures.decode_seconds / steps,
      format_bytes(static_cast<std::int64_t>(figures.decode_bytes / steps)));
  if (roof.bytes_per_second > 0)
    text += fmt::format(": {:.1f} % of the memory's {:.1f} GB/s", 100 * figures.roof_share,
                        roof.bytes_per_second / 1e9);
  return text + "\n";
}

Json as_json(const Spread& spread) {
  Json json = Json::object();
  json.set("count", static_cast<std::int64_t>(spread.count));
  json.set("mean", spread.mean);
  json.set("min", spread.min);
  json.set("p50", spread.p50);
  json.set("p90", spread.p90);
  json.set("p99", spread.p99);
  json.set("max", spread.max);
  return json;
}

Json requests_as_json(const RunRecord& run) {
  Json list = Json::array();
  for (const RequestRecord& request : run.requests) {
    Json row = Json::object();
    row.set("sent", request.sent);
    row.set("ttft", request.times.empty() ? 0.0 : request.times.front() - request.sent);
    row.set("latency", request.end - request.sent);
    row.set("queued", request.timing.queued_seconds);
    row.set("prompt_tokens", request.prompt_tokens);
    row.set("cached_tokens", request.timing.reused_tokens);
    row.set("output_tokens", request.output_tokens());
    row.set("preemptions", static_cast<std::int64_t>(request.timing.preemptions));
    list.push_back(std::move(row));
  }
  return list;
}

}  // namespace

std::string as_table(const BenchOutcome& outcome) {
  const BenchFigures& f = outcome.figures;
  std::string text = fmt::format("{} of {}\n", outcome.mode, outcome.model);
  for (const auto& [flag, value] : outcome.settings) text += fmt::format(" {} {}", flag, value);
  text += "\n";
  if (outcome.run_rates.size() > 1) {
    text += fmt::format("median of {} runs by output tokens/s:", outcome.run_rates.size());
    for (const double rate : outcome.run_rates) text += fmt::format(" {:.1f}", rate);
    text += "\n";
  }
  const double requests = static_cast<double>(f.requests);
  text += fmt::format(
      "\nrequests            {} in {:.2f} s: {:.2f} requests/s, {:.1f} prompt and {:.1f} output "
      "tokens each\n",
      f.requests, f.seconds, f.request_rate, static_cast<double>(f.input_tokens) / requests,
      static_cast<double>(f.output_tokens) / requests);
  text += fmt::format("output              {:.1f} tokens/s\n", f.output_rate);
  text += fmt::format("prompt and output   {:.1f} tokens/s\n\n", f.total_rate);
  text += fmt::format("{:<24}{:>10}{:>10}{:>10}{:>10}{:>10}\n", "ms", "mean", "p50", "p90", "p99",
                      "max");
  text += row_of("TTFT", f.ttft);
  if (f.ttft_cached.count > 0 && f.ttft_fresh.count > 0) {
    text += row_of("  nothing in the cache", f.ttft_fresh);
    text += row_of("  prefix in the cache", f.ttft_cached);
  }
  text += row_of("ITL", f.itl) + row_of("TPOT", f.tpot) + row_of("latency", f.latency) +
          row_of("queued", f.queued);
  text += fmt::format("\nfrom the cache      {:.1f} % of prompt tokens\n", 100 * f.cache_hit_rate);
  text += fmt::format("preemptions         {}\n", f.preemptions);
  text += fmt::format("steps               {} of {:.1f} sequences, host {:.3f} ms a step\n",
                      f.steps, f.rows_per_step, kMilli * f.host_per_step);
  text += roof_line(f, outcome.roof);
  text += fmt::format("memory              {} planned", format_bytes(outcome.planned_bytes));
  if (outcome.peak_bytes > 0)
    text += fmt::format(", {} resident at the peak", format_bytes(outcome.peak_bytes));
  return text + fmt::format("\nload                {:.2f} s\n", outcome.load_seconds);
}

std::string as_json(const BenchOutcome& outcome) {
  const BenchFigures& f = outcome.figures;
  Json settings = Json::object();
  for (const auto& [flag, value] : outcome.settings) settings.set(flag, value);
  Json runs = Json::array();
  for (const double rate : outcome.run_rates) runs.push_back(rate);
  Json json = Json::object();
  json.set("mode", outcome.mode);
  json.set("model", outcome.model);
  json.set("settings", std::move(settings));
  json.set("output_tokens_per_second_of_runs", std::move(runs));
  json.set("seconds", f.seconds);
  json.set("num_requests", f.requests);
  json.set("input_tokens", f.input_tokens);
  json.set("output_tokens", f.output_tokens);
  json.set("output_tokens_per_second", f.output_rate);
  json.set("total_tokens_per_second", f.total_rate);
  json.set("requests_per_second", f.request_rate);
  json.set("ttft", as_json(f.ttft));
  json.set("ttft_cached", as_json(f.ttft_cached));
  json.set("ttft_fresh", as_json(f.ttft_fresh));
  json.set("itl", as_json(f.itl));
  json.set("tpot", as_json(f.tpot));
  json.set("latency", as_json(f.latency));
  json.set("queued", as_json(f.queued));
  json.set("cache_hit_rate", f.cache_hit_rate);
  json.set("preemptions", f.preemptions);
  json.set("steps", f.steps);
  json.set("sequences_per_step", f.rows_per_step);
  json.set("host_seconds_per_step", f.host_per_step);
  json.set("decode_steps", f.decode_steps);
  json.set("decode_seconds", f.decode_seconds);
  json.set("decode_bytes", f.decode_bytes);
  json.set("memory_bytes_per_second", outcome.roof.bytes_per_second);
  json.set("roof_share", f.roof_share);
  json.set("memory_planned_bytes", outcome.planned_bytes);
  json.set("memory_peak_bytes", outcome.peak_bytes);
  json.set("load_seconds", outcome.load_seconds);
  json.set("requests", requests_as_json(outcome.run));
  return json.dump(2) + "\n";
}

}  // namespace tenon::cli
