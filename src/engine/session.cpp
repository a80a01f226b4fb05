// SPDX-License-Identifier: Apache-2.0
#include "engine/session.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <map>
#include <thread>

#include "backends/cpu/cpu_backend.h"
#include "core/check.h"
#include "core/log.h"
#include "core/thread_pool.h"
#include "distributed/in_process_communicator.h"
#include "engine/rank_worker.h"

namespace tenon {
namespace {

constexpr std::int64_t kMaxRows = std::int64_t{1} << 24;
constexpr std::int64_t kMaxCacheTokens = std::int64_t{1} << 40;

/// One rank: its device, its program, its way to the others, and the thread that does its work.
struct Rank {
  std::unique_ptr<Backend> backend;
  LoweredProgram lowered;
  std::unique_ptr<Communicator> communicator;
  std::unique_ptr<Executable> executable;
  std::unique_ptr<RankWorker> worker;
  std::vector<int> cores;  // of its threads, the worker first; empty: not pinned
};

/// Cores of rank `index`: an even share, empty where there are fewer cores than ranks.
std::vector<int> share_of_cores(int ranks, int index, int threads) {
  const std::vector<int> cores = physical_cores();
  if (ranks == 1 || static_cast<int>(cores.size()) < threads || threads < ranks) return {};
  const Range mine = even_cut(threads, ranks, index);
  return {cores.begin() + mine.begin, cores.begin() + mine.end};
}

/// One step on every rank. prepare, forward and sample are pieces of work in the ranks' queues;
/// what one of them throws ends the step on that rank and is told by wait().
class SessionStep : public StepHandle {
 public:
  explicit SessionStep(int ranks, int sampling_rank)
      : errors_(static_cast<std::size_t>(ranks)),
        results_(static_cast<std::size_t>(ranks)),
        sampling_rank_(static_cast<std::size_t>(sampling_rank)) {}

  /// Wraps a piece of work for the rank's queue. The last one, sample(), gives the result.
  std::function<void()> piece(const std::shared_ptr<SessionStep>& self, int rank,
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
  void add(std::future<void> pending) { pending_.push_back(std::move(pending)); }

  /// A rank has taken over the batch; in its thread.
  void rank_prepared() { ++prepared_; }
  bool is_prepared() const { return prepared_ == static_cast<int>(errors_.size()); }

  /// Throws what ended the step on the rank, if something did. In the rank's own thread.
  void check(int rank) const {
    if (const auto& error = errors_[static_cast<std::size_t>(rank)]) std::rethrow_exception(error);
  }

  bool ready() const override {
    return std::all_of(pending_.begin(), pending_.end(), [](const std::future<void>& one) {
      return one.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
    });
  }
  const StepResult& wait() override {
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

 private:
  std::atomic<int> prepared_{0};                      // ranks
  std::vector<std::exception_ptr> errors_;            // one a rank, written by its thread
  std::vector<std::shared_ptr<StepHandle>> results_;  // likewise
  std::size_t sampling_rank_;
  std::vector<std::future<void>> pending_;
  std::exception_ptr failure_;
};

/// Whether preparing the batch changes what belongs to sequences that are not in it.
bool changes_others(const Batch& batch) {
  return !batch.commands.empty() ||
         std::any_of(batch.updates.begin(), batch.updates.end(), [&](const SlotUpdate& update) {
           return std::find(batch.slots.begin(), batch.slots.end(), update.slot) ==
                  batch.slots.end();
         });
}

class LocalSession : public Session {
 public:
  LocalSession(const ModelGraphs& graphs, std::shared_ptr<const WeightSource> weights,
               const SessionOptions& options)
      : options_(options),
        traits_(graphs.traits),
        weights_(std::move(weights)),
        ledger_("cpu", options.memory_limit) {
    options_.mapping = checked_mapping(options_.mapping);
    check_limits();
    const auto program = graphs.programs.find(options_.program);
    TENON_CHECK(program != graphs.programs.end(), ErrorCode::kNotFound,
                "the engine has no program \"{}\"", options_.program);
    make_ranks();
    if (options_.memory_limit == 0) ledger_.set_limit(rank(0).backend->properties().memory_bytes);
    size_cache();
    for (int r = 0; r < world(); ++r) lower_rank(program->second, r);
    for (int r = 0; r < world(); ++r)
      rank(r).backend->plan(rank(r).lowered.description, ledger_, owner(r));
    log::note("load", "{}", ledger_.print());
    load_ranks();
  }

  ~LocalSession() override {
    for (Rank& rank : ranks_)
      if (rank.communicator) rank.communicator->abort();
    for (Rank& rank : ranks_) rank.worker.reset();
  }

  void prepare(const Batch& batch) override {
    recover();
    next_ = std::make_shared<SessionStep>(world(), sampling_rank());
    std::erase_if(unsettled_, [](const auto& step) { return step->is_prepared(); });
    if (changes_others(batch)) unsettled_.push_back(next_);
    auto shared = std::make_shared<const Batch>(batch);
    post(next_, [shared, step = next_.get(), lost = lost_](Executable& rank) {
      TENON_CHECK(!lost, ErrorCode::kInternal,
                  "a step that moved cache blocks of other sequences failed on a rank before; the "
                  "ranks' caches differ: load the model again");
      rank.prepare(*shared);
      step->rank_prepared();
      return std::shared_ptr<StepHandle>();
    });
  }

  void forward() override {
    TENON_ASSERT(next_ != nullptr);
    step_ = std::exchange(next_, nullptr);
    post(step_, [](Executable& rank) -> std::shared_ptr<StepHandle> {
      rank.forward();
      return nullptr;
    });
  }

  std::shared_ptr<StepHandle> sample(const LateInputs& late) override {
    TENON_ASSERT(step_ != nullptr);
    auto shared = std::make_shared<const LateInputs>(late);
    post(step_, [shared](Executable& rank) { return rank.sample(*shared); });
    return step_;
  }

  Tensor read(std::string_view output) override {
    TENON_CHECK(step_ != nullptr, ErrorCode::kNotFound, "\"{}\": no step has run yet", output);
    for (int r = world(); r-- > 0;) {  // the last stage has the logits
      const ProgramDescription& program = rank(r).lowered.description;
      for (const int value : program.outputs)
        if (program.values[static_cast<std::size_t>(value)].name == output)
          return read_from(r, output);
    }
    fail(ErrorCode::kNotFound, "no output or tap \"{}\" in this session", output);
  }

  const SessionOptions& options() const override { return options_; }
  const EngineTraits& traits() const override { return traits_; }
  const std::vector<CacheGroup>& cache_groups() const override { return groups_; }
  const Ledger& ledger() const override { return ledger_; }
  bool keeps_last_tokens() const override { return options_.mapping.pp_size == 1; }

  std::string describe() const override {
    const DeviceProperties& device = ranks_[0].backend->properties();
    return fmt::format("{} ({}), {} thread{}{}", device.name, device.features, threads_,
                       threads_ == 1 ? "" : "s",
                       world() == 1 ? "" : fmt::format(", {} ranks", world()));
  }

  std::vector<std::pair<std::string, int>> kernels() const override {
    std::map<std::string, int> counts;
    for (const KernelChoice& choice : ranks_[0].executable->choices()) ++counts[choice.kernel];
    return {counts.begin(), counts.end()};
  }

 private:
  int world() const { return options_.mapping.world_size; }
  Rank& rank(int index) { return ranks_[static_cast<std::size_t>(index)]; }
  std::string owner(int index) const { return fmt::format("rank {}", index); }
  int sampling_rank() const { return world() - options_.mapping.tp_size; }

  /// A piece of work of `step` into every rank's queue.
  template <class Work>
  void post(const std::shared_ptr<SessionStep>& step, const Work& work) {
    for (int r = 0; r < world(); ++r)
      step->add(rank(r).worker->post(
          step->piece(step, r, [&mine = rank(r), work] { return work(*mine.executable); })));
  }

  /// In the rank's own thread, after the work posted so far. What goes wrong here ends nothing
  /// else.
  Tensor read_from(int index, std::string_view output) {
    Tensor out;
    std::exception_ptr error;
    auto done = rank(index).worker->post([&, step = step_] {
      try {
        step->check(index);
        out = rank(index).executable->read(output);
      } catch (...) {
        error = std::current_exception();
      }
    });
    done.get();
    if (error) std::rethrow_exception(error);
    return out;
  }

  /// A rank that fails in the middle of a step aborts the communicator, so that no other waits for
  /// it, and every rank refuses what was posted for the steps behind. Once all are idle, nothing is
  /// left of those steps but the state of their own slots, and the ranks start afresh together. Not
  /// so where a batch changed more than that on some ranks and not on others.
  void recover() {
    if (world() == 1 || std::none_of(ranks_.begin(), ranks_.end(),
                                     [](const Rank& rank) { return rank.worker->failed(); }))
      return;
    std::vector<std::future<void>> idle;
    for (Rank& rank : ranks_) idle.push_back(rank.worker->forget_failure());
    wait_all(idle);
    lost_ |= std::any_of(unsettled_.begin(), unsettled_.end(),
                         [](const auto& step) { return !step->is_prepared(); });
    unsettled_.clear();
    rank(0).communicator->reset();
  }

  void check_limits() {
    TENON_CHECK(options_.max_step_tokens >= 1 && options_.max_sequences >= 1 &&
                    options_.max_sequence_length >= 1 && options_.tokens_per_block >= 1,
                ErrorCode::kInvalidArgument,
                "limits must be at least 1: max_num_tokens {}, max_batch_size {}, max_seq_len {}, "
                "tokens_per_block {}",
                options_.max_step_tokens, options_.max_sequences, options_.max_sequence_length,
                options_.tokens_per_block);
    // Positions and slots are 32 bits wide; sizes computed from these stay far within 64.
    TENON_CHECK(options_.max_step_tokens <= kMaxRows && options_.max_sequences <= kMaxRows &&
                    options_.tokens_per_block <= kMaxRows &&
                    options_.max_sequence_length <= std::numeric_limits<std::int32_t>::max(),
                ErrorCode::kInvalidArgument,
                "limits out of range: max_num_tokens {}, max_batch_size {} and tokens_per_block {} "
                "may be {} at most, max_seq_len {} less than 2^31",
                options_.max_step_tokens, options_.max_sequences, options_.tokens_per_block,
                kMaxRows, options_.max_sequence_length);
    TENON_CHECK(traits_.max_position == 0 || options_.max_sequence_length <= traits_.max_position,
                ErrorCode::kInvalidArgument,
                "max_seq_len {}: the model's positions end at {}; use at most that",
                options_.max_sequence_length, traits_.max_position);
    TENON_CHECK(options_.max_step_tokens >= options_.max_sequences, ErrorCode::kInvalidArgument,
                "max_num_tokens {} must be at least max_batch_size {}: each running sequence takes "
                "a token of the step",
                options_.max_step_tokens, options_.max_sequences);
  }

  void make_ranks() {
    threads_ = options_.threads > 0 ? options_.threads : available_cores();
    ranks_ = std::vector<Rank>(static_cast<std::size_t>(world()));
    auto communicators = world() == 1             ? std::vector<std::unique_ptr<Communicator>>(1)
                         : options_.communicators ? options_.communicators(options_.mapping)
                                                  : make_in_process_communicators(options_.mapping);
    for (int r = 0; r < world(); ++r) {
      cpu::CpuOptions cpu;
      cpu.threads = std::max(1, static_cast<int>(even_cut(threads_, world(), r).size()));
      cpu.cores = share_of_cores(world(), r, threads_);
      cpu.pin = options_.pin && (world() == 1 || !cpu.cores.empty());
      rank(r).cores = pinned_cores({.threads = cpu.threads, .pin = cpu.pin, .cores = cpu.cores});
      rank(r).backend = cpu::make_backend(cpu);
      rank(r).communicator = std::move(communicators[static_cast<std::size_t>(r)]);
    }
  }

  /// Blocks of each cache group, from the options or from what memory allows.
  void size_cache() {
    std::int64_t token_bytes = 0;
    for (const EngineTraits::CacheLayer& layer : traits_.cache_layers) {
      token_bytes += 2 * layer.kv_heads *
                     (layer.head_dim * static_cast<std::int64_t>(size_of(options_.cache_dtype)) +
                      (options_.cache_dtype == DataType::kInt8 ? 4 : 0));
    }
    std::int64_t tokens = options_.cache_tokens.value_or(0);
    if (!options_.cache_tokens) {
      const std::int64_t wanted = options_.max_sequences * options_.max_sequence_length;
      const std::int64_t half = ranks_[0].backend->properties().free_bytes / 2;
      const std::int64_t affordable = token_bytes == 0 ? wanted : half / token_bytes;
      tokens = std::min(wanted, std::max(affordable, options_.max_sequence_length));
    }
    TENON_CHECK(tokens >= 1 && tokens <= kMaxCacheTokens, ErrorCode::kInvalidArgument,
                "max_tokens_in_paged_kv_cache {} is out of range, expected 1 to {}", tokens,
                kMaxCacheTokens);
    const std::int64_t per_block = options_.tokens_per_block;
    for (const CacheGroupLayout& layout : tenon::cache_groups(traits_))
      groups_.push_back({layout.window, (tokens + per_block - 1) / per_block});
  }

  void lower_rank(const Graph& graph, int index) {
    LoweringOptions lowering;
    lowering.mapping = options_.mapping;
    lowering.rank = index;
    lowering.fusions = rank(index).backend->fusions();
    lowering.taps = options_.taps;
    lowering.limits = {
        .tokens = options_.max_step_tokens,
        .sequences = options_.max_sequences,
        .logit_rows = options_.all_logits ? options_.max_step_tokens : options_.max_sequences,
        .encoder_tokens = 0};
    lowering.slots = options_.max_sequences;
    lowering.policy = options_.policy;
    lowering.cache_dtype = options_.cache_dtype;
    lowering.tokens_per_block = options_.tokens_per_block;
    for (const CacheGroup& group : groups_) lowering.cache_blocks.push_back(group.blocks);
    rank(index).lowered = lower(graph, traits_, *weights_, lowering);
  }

  void load_rank(int index) {
    Rank& mine = rank(index);
    std::map<std::string, std::size_t, std::less<>> index_of;
    for (std::size_t w = 0; w < mine.lowered.description.weights.size(); ++w)
      index_of.emplace(mine.lowered.description.weights[w].name, w);
    const WeightLoader loader = [&](const WeightUse& use) {
      return weights_->load(use.name, mine.lowered.cuts[index_of.at(use.name)]);
    };
    mine.executable = mine.backend->load(mine.lowered.description, loader, mine.communicator.get(),
                                         ledger_, owner(index));
  }

  void load_ranks() {
    std::vector<std::future<void>> pending;
    for (int r = 0; r < world(); ++r) {
      rank(r).worker = std::make_unique<RankWorker>([communicator = rank(r).communicator.get()] {
        if (communicator != nullptr) communicator->abort();
      });
      pending.push_back(rank(r).worker->post([this, r] {
        // This thread is the first of the rank's pool, so it has the first of the pool's cores.
        if (!rank(r).cores.empty()) pin_this_thread(rank(r).cores.front());
        load_rank(r);
      }));
    }
    wait_all(pending);
  }

  SessionOptions options_;
  EngineTraits traits_;
  std::shared_ptr<const WeightSource> weights_;
  Ledger ledger_;
  std::vector<CacheGroup> groups_;
  int threads_ = 1;
  std::vector<Rank> ranks_;
  std::shared_ptr<SessionStep> next_;  // prepared, not yet run
  std::shared_ptr<SessionStep> step_;  // the last whose forward was issued
  // Steps that change what belongs to other sequences, and may not be prepared on every rank yet.
  std::vector<std::shared_ptr<SessionStep>> unsettled_;
  bool lost_ = false;  // one of them ended on some ranks only
};

}  // namespace

std::unique_ptr<Session> Session::load(const ModelGraphs& graphs,
                                       std::shared_ptr<const WeightSource> weights,
                                       const SessionOptions& options) {
  return std::make_unique<LocalSession>(graphs, std::move(weights), options);
}

}  // namespace tenon
