// scheduler_bench [--steps N]
// Host time of one step of the runtime without the session's work: planning, building the batch,
// handing results out. A session that answers at once runs 256 and 2,048 decodes; requests end and
// arrive all the time, and every sequence takes a new cache block every tokens_per_block steps.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "machine_roof.h"
#include "runtime/step_runner.h"

namespace tenon::bench {
namespace {

constexpr std::int64_t kVocab = 32000;
constexpr std::int64_t kShortestPrompt = 33;
constexpr std::int64_t kLongestPrompt = 160;
constexpr std::int64_t kShortestOutput = 150;
constexpr std::int64_t kLongestOutput = 450;

/// Answers every step at once with random tokens, and knows how long it took itself.
class InstantSession : public Session {
 public:
  explicit InstantSession(std::int64_t sequences) : ledger_("none") {
    options_.max_sequences = sequences;
    options_.max_step_tokens = sequences + 1024;
    const std::int64_t size = options_.tokens_per_block;
    const std::int64_t blocks = (kLongestPrompt + kLongestOutput + size) / size;
    groups_.push_back({.blocks = sequences * blocks});
    traits_.vocab_size = kVocab;
  }

  double seconds() const { return seconds_; }  ///< of its own work, since its beginning
  std::size_t rows() const { return rows_; }

  void prepare(const Batch& batch) override {
    const double start = now();
    rows_ = batch.slots.size();
    handle_ = std::make_shared<Handle>();
    handle_->result = &results_[step_++ % results_.size()];
    handle_->result->sequences.resize(rows_);
    for (std::size_t i = 0; i < rows_; ++i) {
      auto& tokens = handle_->result->sequences[i].tokens;
      tokens.clear();
      if (batch.sample_row[i] < 0) continue;
      tokens.push_back(static_cast<std::int32_t>(generator_() % kVocab));
    }
    seconds_ += now() - start;
  }
  void forward() override {}
  std::shared_ptr<StepHandle> sample(const LateInputs&) override { return std::move(handle_); }
  Tensor read(std::string_view) override { return {}; }
  const SessionOptions& options() const override { return options_; }
  const EngineTraits& traits() const override { return traits_; }
  const std::vector<CacheGroup>& cache_groups() const override { return groups_; }
  const Ledger& ledger() const override { return ledger_; }
  std::string describe() const override { return "answers at once"; }
  std::vector<std::pair<std::string, int>> kernels() const override { return {}; }
  bool keeps_last_tokens() const override { return true; }

 private:
  struct Handle : StepHandle {
    bool ready() const override { return true; }
    const StepResult& wait() override { return *result; }
    StepResult* result = nullptr;
  };

  SessionOptions options_;
  EngineTraits traits_;
  std::vector<CacheGroup> groups_;
  Ledger ledger_;
  std::minstd_rand generator_{1};
  std::shared_ptr<Handle> handle_;
  std::array<StepResult, 3> results_;  // used in turn: two steps are under way at most
  std::size_t step_ = 0;
  std::size_t rows_ = 0;
  double seconds_ = 0;
};

/// Counts, as the cheapest sink there can be.
class CountingSink : public RequestSink {
 public:
  explicit CountingSink(std::int64_t& finished) : finished_(finished) {}
  Verdict on_tokens(int, const SequenceResult&) override { return Verdict::kContinue; }
  void on_finish(int, FinishReason, const Error*) override { ++finished_; }

 private:
  std::int64_t& finished_;
};

class Requests {
 public:
  explicit Requests(StepRunner& runner) : runner_(runner) {}

  std::int64_t finished = 0;

  void add(double time) {
    auto request = std::make_shared<Request>();
    request->input_ids.resize(static_cast<std::size_t>(between(kShortestPrompt, kLongestPrompt)));
    for (std::int32_t& id : request->input_ids)
      id = static_cast<std::int32_t>(generator_() % kVocab);
    request->end_ids = {-2};
    request->sink = std::make_shared<CountingSink>(finished);
    const std::int64_t output = between(kShortestOutput, kLongestOutput);
    ++last_id_;
    runner_.add(last_id_, std::move(request), /*seed=*/last_id_, output, time);
  }

 private:
  std::int64_t between(std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(generator_);
  }

  StepRunner& runner_;
  std::minstd_rand generator_{7};
  RequestId last_id_ = 0;
};

struct Samples {
  std::string name;
  std::vector<double> seconds;

  double at(double share) {
    const auto nth = seconds.begin() +
                     static_cast<std::ptrdiff_t>(share * static_cast<double>(seconds.size() - 1));
    std::nth_element(seconds.begin(), nth, seconds.end());
    return *nth;
  }
};

void measure(std::int64_t sequences, int steps) {
  InstantSession session(sequences);
  StepRunner runner(session, {});
  Requests requests(runner);
  const std::function<double()> clock = now;
  std::int64_t wanted = sequences + 8;  // some wait always
  const auto refill = [&] {
    for (; wanted > 0; --wanted) requests.add(now());
    wanted += std::exchange(requests.finished, 0);
  };
  // Until those that began together have ended at different times.
  for (std::int64_t i = 0; i < 2 * kLongestOutput; ++i) refill(), runner.iterate(clock);

  std::vector<Samples> samples = {{"plan", {}}, {"build batch", {}}, {"deliver", {}}, {"all", {}}};
  std::int64_t finished = 0;
  double rows = 0;
  for (int i = 0; i < steps; ++i) {
    finished += requests.finished;
    refill();
    const double inside = session.seconds();
    const double start = now();
    runner.iterate(clock);
    const double all = now() - start - (session.seconds() - inside);
    const StepHostTimes& times = runner.host_times();
    const double parts[] = {times.plan, times.build, times.deliver, all};
    for (std::size_t part = 0; part < samples.size(); ++part)
      samples[part].seconds.push_back(parts[part]);
    rows += static_cast<double>(session.rows());
  }
  fmt::print("{} decodes: {} steps, {:.1f} rows a step, {} requests ended\n", sequences, steps,
             rows / steps, finished);
  for (Samples& part : samples)
    fmt::print("  {:<12} median {:7.1f} us   p99 {:7.1f} us\n", part.name, 1e6 * part.at(0.5),
               1e6 * part.at(0.99));
}

}  // namespace
}  // namespace tenon::bench

int main(int argc, char** argv) {
  int steps = 4000;
  for (int i = 1; i + 1 < argc; i += 2)
    if (std::string(argv[i]) == "--steps") steps = std::stoi(argv[i + 1]);
  for (const std::int64_t sequences : {256, 2048}) tenon::bench::measure(sequences, steps);
  return 0;
}
