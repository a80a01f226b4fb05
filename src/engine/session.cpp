// SPDX-License-Identifier: Apache-2.0
#include "engine/session.h"

#include <algorithm>
#include <map>
#include <thread>

#include "core/check.h"
#include "core/log.h"
#include "core/process_memory.h"
#include "core/thread_pool.h"
#include "distributed/in_process_communicator.h"
#include "engine/backend_factory.h"
#include "engine/cache_size.h"
#include "engine/rank_worker.h"
#include "engine/session_limits.h"
#include "engine/session_step.h"

namespace tenon {
namespace {

/// One rank: its device, its program, its way to the others, and the thread that does its work.
struct Rank {
  std::unique_ptr<Backend> backend;
  LoweredProgram lowered;
  std::unique_ptr<Communicator> communicator;
  std::unique_ptr<Executable> executable;
  std::unique_ptr<RankWorker> worker;
  std::vector<int> cores;  // of its threads; empty: not pinned
};

/// Cores of rank `index`: an even share, empty where there are fewer cores than ranks.
std::vector<int> share_of_cores(int ranks, int index, int threads) {
  const std::vector<int> cores = physical_cores();
  if (ranks == 1 || static_cast<int>(cores.size()) < threads || threads < ranks) return {};
  const Range mine = even_cut(threads, ranks, index);
  return {cores.begin() + mine.begin, cores.begin() + mine.end};
}

class LocalSession : public Session {
 public:
  enum class Load : std::uint8_t { kNo, kYes };

  LocalSession(const ModelGraphs& graphs, std::shared_ptr<const WeightSource> weights,
               const SessionOptions& options, Load load)
      : options_(options),
        traits_(graphs.traits),
        weights_(std::move(weights)),
        ledger_(choose_device(options.device).kind) {
    if (options_.kv_cache.tokens_per_block != 0)
      options_.tokens_per_block = options_.kv_cache.tokens_per_block;
    options_.mapping = checked_mapping(options_.mapping);
    check_session_limits(options_, traits_);
    const auto program = graphs.programs.find(options_.program);
    TENON_CHECK(program != graphs.programs.end(), ErrorCode::kNotFound,
                "the engine has no program \"{}\"", options_.program);
    make_ranks();
    for (int r = 0; r < world(); ++r) lower_rank(program->second, r);
    size_cache();
    plan_into(ledger_);
    ledger_.set_limit(memory_limit());
    if (load == Load::kNo) return;
    log::note("load", "{}", ledger_.print());
    ledger_.check();
    try {
      load_ranks();
    } catch (const Error& error) {  // others took what was free when it was planned
      if (error.code() != ErrorCode::kResourceExhausted) throw;
      fail(error.code(), "{}\n{}", error.what(), ledger_.print());
    }
    give_back_free_memory();
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
    fail(ErrorCode::kNotFound, "no output or tap \"{}\" in this session{}", output,
         output == "hidden_states" ? ": the engine is older than this output; build it again" : "");
  }

  const SessionOptions& options() const override { return options_; }
  const EngineTraits& traits() const override { return traits_; }
  const std::vector<CacheGroup>& cache_groups() const override { return groups_; }
  const Ledger& ledger() const override { return ledger_; }
  std::int64_t cache_tokens() const { return cache_tokens_; }
  bool keeps_last_tokens() const override { return options_.mapping.pp_size == 1; }
  bool device_lost() const override {
    return std::any_of(ranks_.begin(), ranks_.end(),
                       [](const Rank& rank) { return rank.backend->device_lost(); });
  }

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
  /// The ledger's device is the host: what the process holds counts too.
  bool on_host() const { return ranks_[0].backend->properties().kind == "cpu"; }
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

  void make_ranks() {
    const DeviceChoice device = choose_device(options_.device);
    if (!device.note.empty()) log::note("load", "on the CPU: {}", device.note);
    threads_ = options_.threads > 0 ? options_.threads : available_cores();
    ranks_ = std::vector<Rank>(static_cast<std::size_t>(world()));
    auto communicators = world() == 1             ? std::vector<std::unique_ptr<Communicator>>(1)
                         : options_.communicators ? options_.communicators(options_.mapping)
                                                  : make_in_process_communicators(options_.mapping);
    for (int r = 0; r < world(); ++r) {
      RankDevice mine{.device = device, .rank = r};
      mine.threads = std::max(1, static_cast<int>(even_cut(threads_, world(), r).size()));
      mine.cores = share_of_cores(world(), r, threads_);
      mine.pin = options_.pin && (world() == 1 || !mine.cores.empty());
      mine.tactics = options_.tactics;
      rank(r).cores = pinned_cores({.threads = mine.threads, .pin = mine.pin, .cores = mine.cores});
      rank(r).backend = make_backend(mine);
      rank(r).communicator = std::move(communicators[static_cast<std::size_t>(r)]);
    }
  }

  std::int64_t memory_limit() const {
    if (options_.memory_limit != 0) return options_.memory_limit;
    return options_.device_memory != 0 ? options_.device_memory
                                       : ranks_[0].backend->properties().memory_bytes;
  }

  /// What is held already is free no more, but it is a row of the plan too.
  std::int64_t free_memory() const {
    const std::int64_t free =
        options_.device_memory != 0
            ? options_.device_memory
            : ranks_[0].backend->properties().free_bytes + (on_host() ? held_before_ : 0);
    return std::min(free, memory_limit());
  }

  void plan_into(Ledger& ledger) {
    if (on_host()) {
      ledger.plan(MemoryKind::kForeign, "process: held before loading", held_before_);
      ledger.plan(MemoryKind::kHost, "steps: batches, results, slots",
                  step_host_bytes(options_, threads_));
    }
    for (int r = 0; r < world(); ++r) {
      const ProgramDescription& program = rank(r).lowered.description;
      rank(r).backend->plan(program, ledger, owner(r));
      if (world() > 1)
        ledger.plan(MemoryKind::kCommunication, owner(r) + ": sums and messages",
                    communication_bytes(program, options_.mapping));
    }
  }

  /// Planned bytes of the cache with `blocks` in group `index` and none in the others.
  std::int64_t cache_bytes(std::size_t index, std::int64_t blocks) {
    for (Rank& rank : ranks_) rank.lowered.description.cache[index].blocks = blocks;
    Ledger ledger("cache alone");
    plan_into(ledger);
    for (Rank& rank : ranks_) rank.lowered.description.cache[index].blocks = 0;
    std::int64_t sum = 0;
    for (const Ledger::Row& row : ledger.rows())
      if (row.kind == MemoryKind::kCache) sum += row.planned;
    return sum;
  }

  /// Last of all, from what is left: every rank is lowered, with no blocks yet.
  void size_cache() {
    const std::vector<CacheGroupLayout> layouts = tenon::cache_groups(traits_);
    std::vector<CacheNeed> needs;
    for (std::size_t g = 0; g < layouts.size(); ++g)
      needs.push_back({layouts[g].window, cache_bytes(g, 1) - cache_bytes(g, 0)});
    Ledger rest("rest");
    plan_into(rest);
    const CacheSizes sizes = tenon::size_cache(needs,
                                               {.tokens_per_block = options_.tokens_per_block,
                                                .max_sequences = options_.max_sequences,
                                                .max_sequence_length = options_.max_sequence_length,
                                                .max_step_tokens = options_.max_step_tokens,
                                                .free_bytes = free_memory() - rest.planned()},
                                               options_.kv_cache);
    for (std::size_t g = 0; g < layouts.size(); ++g) {
      const CacheBlocks& blocks = sizes.groups[g];
      groups_.push_back({layouts[g].window, blocks.blocks, blocks.host_blocks, blocks.disk_blocks});
      for (Rank& rank : ranks_) {
        CacheGroupDescription& group = rank.lowered.description.cache[g];
        group.blocks = blocks.blocks;
        group.host_blocks = blocks.host_blocks;
        group.disk_blocks = blocks.disk_blocks;
      }
    }
    for (Rank& rank : ranks_)
      rank.lowered.description.swap_directory = options_.kv_cache.disk_cache_directory;
    cache_tokens_ = sizes.tokens;
    log::note("load", "KV cache: {} tokens, {} ({})", sizes.tokens, format_bytes(sizes.bytes),
              sizes.reason);
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
    rank(index).lowered = lower(graph, traits_, *weights_, lowering);
    rank(index).lowered.description.sequence_length = options_.max_sequence_length;
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
        // The pool's caller may move among the pool's cores: on a busy machine a step would wait
        // for whoever shares its one core.
        keep_this_thread_on(rank(r).cores);
        load_rank(r);
      }));
    }
    wait_all(pending);
  }

  SessionOptions options_;
  EngineTraits traits_;
  std::shared_ptr<const WeightSource> weights_;
  Ledger ledger_;
  std::int64_t held_before_ = anonymous_memory();
  std::vector<CacheGroup> groups_;
  std::int64_t cache_tokens_ = 0;
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
  return std::make_unique<LocalSession>(graphs, std::move(weights), options,
                                        LocalSession::Load::kYes);
}

SessionPlan Session::plan(const ModelGraphs& graphs, std::shared_ptr<const WeightSource> weights,
                          const SessionOptions& options) {
  const LocalSession session(graphs, std::move(weights), options, LocalSession::Load::kNo);
  const Ledger& ledger = session.ledger();
  return {ledger.rows(), ledger.planned(), ledger.limit(), session.cache_tokens()};
}

}  // namespace tenon
