// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <limits>

#include "cli/bench_engine.h"
#include "cli/bench_report.h"
#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/llm_flags.h"
#include "core/check.h"
#include "core/file.h"

namespace tenon::cli {
namespace {

constexpr std::int64_t kMostRequests = 1'000'000;
constexpr std::int64_t kMostTokens = std::int64_t{1} << 24;  // of one prompt or output

/// Flags of trtllm-bench that have no place here yet.
constexpr const char* kLater[] = {"--beam_width",       "--backend",           "--modality",
                                  "--iteration_log",    "--output_json",       "--request_json",
                                  "--target_input_len", "--target_output_len", "--ep",
                                  "--cluster_size",     "--report_json"};

struct BenchFlags {
  ModelFlags model;
  std::string load_format = "auto";
  std::string quantization;
  std::string dataset;
  std::optional<std::int64_t> num_requests;
  double input_mean = 128;
  double input_stdev = 0;
  double output_mean = 64;
  double output_stdev = 0;
  std::int64_t shared_prefix = 0;
  std::int64_t seed = 0;
  std::optional<double> request_rate;
  std::optional<std::int64_t> concurrency;
  std::int64_t warmup = 2;
  std::int64_t runs = 1;
  std::int64_t eos_id = -1;
  std::optional<double> memory_bandwidth;
  std::string json;
  std::string plot;
};

void add_flags(CommandLine& line, BenchFlags& flags) {
  flags.model.add(line);
  line.option("--load_format", flags.load_format,
              "auto, or dummy: random weights for a config.json alone [auto]");
  line.option("-q,--quantization", flags.quantization,
              "form of dummy weights: FP8, W8A16 or W4A16 [what config.json says, else its dtype]");
  line.group("Requests");
  line.option("--dataset", flags.dataset,
              "trtllm-bench's: lines or an array of {\"task_id\", \"prompt\" or \"input_ids\", "
              "\"output_tokens\"}; without it requests are synthetic");
  line.option("--num_requests", flags.num_requests,
              "how many [all of the dataset; synthetic: 32, latency 8]");
  line.option("--input_mean", flags.input_mean, "synthetic prompts' tokens [128]");
  line.option("--input_stdev", flags.input_stdev, "and their standard deviation [0]");
  line.option("--output_mean", flags.output_mean, "synthetic outputs' tokens [64]");
  line.option("--output_stdev", flags.output_stdev, "and their standard deviation [0]");
  line.option("--shared_prefix", flags.shared_prefix,
              "put that many equal tokens before every prompt [0]");
  line.option("--seed", flags.seed, "of tokens, lengths, arrivals, dummy weights [0]");
  line.option("--eos_id", flags.eos_id, "token that ends an output; -1: none does [-1]");
  line.group("Load");
  line.option("--request_rate", flags.request_rate,
              "requests a second, as a Poisson process [all at once]");
  line.option("--concurrency", flags.concurrency,
              "requests under way at most [all; latency: always 1]");
  line.option("--warmup", flags.warmup, "requests before, which do not count [2]");
  line.option("--runs", flags.runs, "repeat, and report the run of median output tokens/s [1]");
  line.group("Report");
  line.option("--memory_bandwidth", flags.memory_bandwidth,
              "GB/s to compare with [measured at the start on a CPU; not known on a GPU]");
  line.option("--json", flags.json, "file for all figures, with one row a request");
  line.option("--plot", flags.plot, ".svg or .html file for distributions and tokens over time");
  for (const char* later : kLater) line.unsupported(later);
  line.footer(
      "Memory's share: over the steps that only continue outputs, the bytes that must be read "
      "(packed weights without tables that are only looked up, and the cache's blocks that running "
      "sequences hold) over the time of those steps times the memory's read bandwidth.\n"
      "Example: tenon bench throughput model.gguf --num_requests 64 --output_mean 128");
}

void check_range(const char* flag, double value, double low, double high) {
  TENON_CHECK(value >= low && value <= high, ErrorCode::kInvalidArgument,
              "{}: {} is out of range, expected {} to {}", flag, value, low, high);
}

void check(const BenchFlags& flags, bool latency) {
  TENON_CHECK(flags.load_format == "auto" || flags.load_format == "dummy",
              ErrorCode::kInvalidArgument, "--load_format: {} is not known, expected auto or dummy",
              flags.load_format);
  TENON_CHECK(flags.quantization.empty() || flags.load_format == "dummy",
              ErrorCode::kInvalidArgument,
              "--quantization: {} is for dummy weights (--load_format dummy); make real ones with "
              "`tenon convert --use_weight_only`",
              flags.quantization);
  if (flags.num_requests)
    check_range("--num_requests", static_cast<double>(*flags.num_requests), 1, kMostRequests);
  check_range("--input_mean", flags.input_mean, 1, kMostTokens);
  check_range("--output_mean", flags.output_mean, 1, kMostTokens);
  check_range("--input_stdev", flags.input_stdev, 0, kMostTokens);
  check_range("--output_stdev", flags.output_stdev, 0, kMostTokens);
  check_range("--shared_prefix", static_cast<double>(flags.shared_prefix), 0, kMostTokens);
  check_range("--warmup", static_cast<double>(flags.warmup), 0, kMostRequests);
  check_range("--runs", static_cast<double>(flags.runs), 1, 1000);
  check_range("--eos_id", static_cast<double>(flags.eos_id), -1,
              std::numeric_limits<std::int32_t>::max());
  check_range("--seed", static_cast<double>(flags.seed), 0, 1e18);
  if (flags.concurrency)
    check_range("--concurrency", static_cast<double>(*flags.concurrency), 1, kMostRequests);
  if (flags.request_rate)
    TENON_CHECK(*flags.request_rate > 0, ErrorCode::kInvalidArgument,
                "--request_rate: {} requests a second; expected more than 0, or inf",
                *flags.request_rate);
  if (flags.memory_bandwidth) check_range("--memory_bandwidth", *flags.memory_bandwidth, 0.01, 1e6);
  TENON_CHECK(!latency || (!flags.concurrency && !flags.request_rate), ErrorCode::kInvalidArgument,
              "latency runs one request at a time: --concurrency and --request_rate are for "
              "throughput");
  TENON_CHECK(flags.plot.empty() || flags.plot.ends_with(".svg") || flags.plot.ends_with(".html"),
              ErrorCode::kInvalidArgument, "--plot: {} must end in .svg or .html", flags.plot);
}

std::vector<BenchRequest> make_requests(const BenchFlags& flags, bool latency,
                                        std::int64_t vocab_size, const TextEncoder& encode) {
  const auto seed = static_cast<std::uint64_t>(flags.seed);
  std::vector<BenchRequest> requests;
  if (flags.dataset.empty()) {
    requests = make_synthetic({.num_requests = flags.num_requests.value_or(latency ? 8 : 32),
                               .input_mean = flags.input_mean,
                               .input_stdev = flags.input_stdev,
                               .output_mean = flags.output_mean,
                               .output_stdev = flags.output_stdev,
                               .seed = seed,
                               .vocab_size = vocab_size});
  } else {
    requests = read_dataset(flags.dataset, encode);
    const auto wanted = static_cast<std::size_t>(
        flags.num_requests.value_or(static_cast<std::int64_t>(requests.size())));
    TENON_CHECK(wanted <= requests.size(), ErrorCode::kInvalidArgument,
                "--num_requests: {} were wanted, {} has {}", wanted, flags.dataset,
                requests.size());
    requests.resize(wanted);
  }
  add_shared_prefix(requests, flags.shared_prefix, vocab_size, seed);
  return requests;
}

/// The largest resident size since the last reset, with mapped files; 0: not told.
std::int64_t peak_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::stoll(line.substr(6)) * 1024;
  return 0;
}
void reset_peak_memory() { std::ofstream("/proc/self/clear_refs") << "5"; }

std::vector<std::pair<std::string, std::string>> settings_of(const BenchFlags& flags,
                                                             const BenchEngine& bench,
                                                             std::int64_t concurrency) {
  std::vector<std::pair<std::string, std::string>> settings;
  const auto add = [&](const char* name, const auto& value) {
    settings.emplace_back(name, fmt::format("{}", value));
  };
  if (flags.dataset.empty()) {
    add("input_mean", flags.input_mean);
    add("input_stdev", flags.input_stdev);
    add("output_mean", flags.output_mean);
    add("output_stdev", flags.output_stdev);
  } else {
    add("dataset", flags.dataset);
  }
  if (flags.shared_prefix > 0) add("shared_prefix", flags.shared_prefix);
  add("num_requests", bench.requests.size());
  add("seed", flags.seed);
  if (flags.request_rate) add("request_rate", *flags.request_rate);
  if (concurrency > 0) add("concurrency", concurrency);
  add("scheduler_policy", flags.model.scheduler_policy());
  add("max_batch_size", *bench.options.max_batch_size);
  add("max_seq_len", *bench.options.max_seq_len);
  if (bench.options.max_num_tokens) add("max_num_tokens", *bench.options.max_num_tokens);
  add("weights", bench.weights);
  add("activation_dtype", bench.options.activation_dtype);
  add("kv_cache_dtype", bench.options.kv_cache_dtype);
  add("deterministic", bench.options.deterministic);
  add("tactics", bench.options.tactics);
  add("threads", bench.options.threads);
  add("device", bench.options.device);
  return settings;
}

void warm_up(BenchEngine& bench, std::int64_t count) {
  std::vector<BenchRequest> requests;
  for (std::int64_t i = 0; i < count; ++i)
    requests.push_back(bench.requests[static_cast<std::size_t>(i) % bench.requests.size()]);
  if (requests.empty()) return;
  run_requests(*bench.executor, requests,
               {.arrivals = std::vector<double>(requests.size(), 0.0), .cache_salt = "warm-up"});
}

/// Runs it --runs times; the outcome holds the median one.
BenchOutcome measure(const BenchFlags& flags, BenchEngine& bench, std::int64_t concurrency) {
  const double rate =
      flags.request_rate && std::isfinite(*flags.request_rate) ? *flags.request_rate : 0.0;
  RunPlan plan{.arrivals = arrival_times(bench.requests.size(), rate,
                                         static_cast<std::uint64_t>(flags.seed)),
               .concurrency = concurrency,
               .end_id = flags.eos_id};
  std::vector<RunRecord> records;
  std::vector<BenchFigures> figures;
  BenchOutcome outcome;
  for (std::int64_t i = 0; i < flags.runs; ++i) {
    plan.cache_salt = fmt::format("run {}", i);  // a run finds nothing of the one before
    records.push_back(run_requests(*bench.executor, bench.requests, plan));
    figures.push_back(figures_of(records.back(), bench.roof));
    outcome.run_rates.push_back(figures.back().output_rate);
    std::fprintf(stderr, "run %lld of %lld: %.1f output tokens/s\n", static_cast<long long>(i + 1),
                 static_cast<long long>(flags.runs), figures.back().output_rate);
  }
  const std::size_t median = median_index(outcome.run_rates);
  outcome.figures = figures[median];
  outcome.run = std::move(records[median]);
  return outcome;
}

}  // namespace

int bench_command(const Arguments& arguments) {
  Arguments words = arguments;
  std::string mode = "throughput";
  if (!words.empty() && (words[0] == "throughput" || words[0] == "latency")) {
    mode = words[0];
    words.erase(words.begin());
  }
  const bool latency = mode == "latency";
  BenchFlags flags;
  CommandLine line("bench",
                   "Measures an engine: `tenon bench throughput` (the default) sends requests "
                   "together, `tenon bench latency` one after another.");
  add_flags(line, flags);
  if (!line.parse(words)) return 0;
  check(flags, latency);

  BenchEngineOptions options;
  options.path = flags.model.path();
  options.dummy_weights = flags.load_format == "dummy";
  options.quantization = flags.quantization;
  options.seed = static_cast<std::uint64_t>(flags.seed);
  options.run = flags.model.options();
  options.concurrency = latency ? 1 : flags.concurrency.value_or(0);
  options.memory_bytes_per_second = flags.memory_bandwidth.value_or(0) * 1e9;
  BenchEngine bench =
      load_bench_engine(options, [&](std::int64_t vocab_size, const TextEncoder& encode) {
        return make_requests(flags, latency, vocab_size, encode);
      });
  warm_up(bench, flags.warmup);
  reset_peak_memory();
  BenchOutcome outcome = measure(flags, bench, options.concurrency);
  outcome.mode = mode;
  outcome.model = options.path;
  outcome.settings = settings_of(flags, bench, options.concurrency);
  outcome.roof = bench.roof;
  outcome.planned_bytes = bench.planned_bytes;
  outcome.peak_bytes = peak_memory();
  outcome.load_seconds = bench.load_seconds;
  std::fputs(as_table(outcome).c_str(), stdout);
  if (!flags.json.empty()) write_file_atomically(flags.json, as_json(outcome));
  if (!flags.plot.empty())
    write_file_atomically(flags.plot,
                          flags.plot.ends_with(".svg") ? as_svg(outcome) : as_html(outcome));
  return 0;
}

}  // namespace tenon::cli
