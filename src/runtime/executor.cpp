// SPDX-License-Identifier: Apache-2.0
#include "runtime/executor.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <limits>
#include <mutex>
#include <random>
#include <set>
#include <thread>

#include "core/check.h"
#include "runtime/batch_builder.h"
#include "runtime/block_pool.h"
#include "runtime/request_check.h"
#include "runtime/scheduler.h"

namespace tenon {

struct Executor::Impl {
  std::unique_ptr<Session> session;
  ExecutorOptions options;
  ScheduleLimits limits;
  std::vector<BlockPool> pools;  // one a cache group
  std::vector<std::int32_t> free_slots;

  // Shared with callers.
  mutable std::mutex mutex;
  std::condition_variable wake;
  std::deque<std::unique_ptr<Sequence>> inbox;
  std::set<RequestId> cancelled;
  RequestId next_id = 1;
  bool stop = false;
  ExecutorStatistics stats;

  // The loop's own.
  std::deque<std::unique_ptr<Sequence>> waiting;
  std::vector<std::unique_ptr<Sequence>> running;
  std::thread thread;

  void loop();
  bool take_in();
  void end_cancelled();
  std::vector<ScheduledSequence> schedule();
  void start(std::unique_ptr<Sequence> sequence);
  void run_step(std::vector<ScheduledSequence>& step);
  void deliver(ScheduledSequence& scheduled, const SequenceResult& result, const Tensor& logits);
  void finish(Sequence& sequence, FinishReason reason, const Error* error);
  void release(Sequence& sequence);
  void fail_step(std::vector<ScheduledSequence>& step, const Error& error);
  void remove_finished();
  void publish();
};

namespace {

constexpr std::int32_t kEnded = -2;  // slot of a sequence that has ended

std::uint64_t random_seed() {
  static std::mutex mutex;
  static std::mt19937_64 generator{std::random_device{}()};
  const std::lock_guard lock(mutex);
  return generator();
}

/// Why the sequence ends with its newest token, kNotFinished where it goes on.
FinishReason reason_to_end(const Sequence& sequence, std::int32_t token) {
  const SamplingParams& sampling = sequence.spec->sampling;
  const auto holds = [token](const std::vector<std::int32_t>& ids) {
    return std::find(ids.begin(), ids.end(), token) != ids.end();
  };
  if (sequence.generated() >= sampling.min_tokens) {
    if (!sampling.ignore_eos && holds(sequence.spec->end_ids)) return FinishReason::kEndId;
    if (holds(sampling.stop_token_ids)) return FinishReason::kStopWords;
  }
  if (sequence.generated() >= sequence.max_new_tokens) return FinishReason::kLength;
  return FinishReason::kNotFinished;
}

}  // namespace

Executor::Executor(std::unique_ptr<Session> session, const ExecutorOptions& options)
    : impl_(std::make_unique<Impl>()) {
  impl_->session = std::move(session);
  impl_->options = options;
  const SessionOptions& limits = impl_->session->options();
  impl_->limits = {.step_tokens = limits.max_step_tokens,
                   .sequences = limits.max_sequences,
                   .tokens_per_block = limits.tokens_per_block,
                   .chunkable = impl_->session->traits().chunkable};
  for (const Session::CacheGroup& group : impl_->session->cache_groups())
    impl_->pools.emplace_back(group.blocks);
  for (std::int64_t slot = limits.max_sequences; slot-- > 0;)
    impl_->free_slots.push_back(static_cast<std::int32_t>(slot));
  impl_->publish();
  impl_->thread = std::thread([this] { impl_->loop(); });
}

Executor::~Executor() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stop = true;
  }
  impl_->wake.notify_all();
  impl_->thread.join();
}

RequestId Executor::enqueue(Request request) {
  Impl& impl = *impl_;
  const SessionOptions& limits = impl.session->options();
  std::int64_t blocks = std::numeric_limits<std::int64_t>::max();
  for (const BlockPool& pool : impl.pools) blocks = std::min(blocks, pool.total());
  const std::int64_t cache_tokens =
      impl.pools.empty() ? limits.max_sequence_length : blocks * limits.tokens_per_block;
  const std::int64_t new_tokens =
      check_request(request, *impl.session, std::min(cache_tokens, limits.max_sequence_length));
  const auto spec = std::make_shared<const Request>(std::move(request));
  const std::uint64_t seed = spec->sampling.seed.value_or(random_seed());

  const std::lock_guard lock(impl.mutex);
  TENON_CHECK(!impl.stop, ErrorCode::kCancelled, "the executor is shutting down");
  TENON_CHECK(
      impl.stats.waiting + static_cast<std::int64_t>(impl.inbox.size()) + spec->sampling.n <=
          impl.options.max_queue,
      ErrorCode::kResourceExhausted, "the queue is full: {} requests wait (max_queue {})",
      impl.stats.waiting, impl.options.max_queue);
  const RequestId id = impl.next_id++;
  for (int sample = 0; sample < spec->sampling.n; ++sample) {
    auto sequence = std::make_unique<Sequence>();
    sequence->request = id;
    sequence->sample = sample;
    sequence->spec = spec;
    sequence->seed = seed;
    sequence->tokens = spec->input_ids;
    sequence->prompt_length = static_cast<std::int64_t>(spec->input_ids.size());
    sequence->max_new_tokens = new_tokens;
    // The last token is never written to the cache, but a later issue may: one more costs nothing.
    sequence->longest = sequence->prompt_length + new_tokens;
    impl.inbox.push_back(std::move(sequence));
  }
  impl.wake.notify_one();
  return id;
}

void Executor::cancel(RequestId id) {
  const std::lock_guard lock(impl_->mutex);
  impl_->cancelled.insert(id);
  impl_->wake.notify_one();
}

ExecutorStatistics Executor::statistics() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->stats;
}

const Session& Executor::session() const { return *impl_->session; }
Session& Executor::session() { return *impl_->session; }

void Executor::Impl::loop() {
  while (take_in()) {
    end_cancelled();
    std::vector<ScheduledSequence> step = schedule();
    if (!step.empty()) run_step(step);
    remove_finished();
    publish();
  }
  for (auto& sequence : running) finish(*sequence, FinishReason::kCancelled, nullptr);
  for (auto& sequence : waiting) finish(*sequence, FinishReason::kCancelled, nullptr);
}

/// Waits for work; false at shutdown.
bool Executor::Impl::take_in() {
  std::unique_lock lock(mutex);
  wake.wait(lock,
            [this] { return stop || !inbox.empty() || !running.empty() || !waiting.empty(); });
  for (auto& sequence : inbox) waiting.push_back(std::move(sequence));
  inbox.clear();
  stats.waiting = static_cast<std::int64_t>(waiting.size());
  return !stop;
}

void Executor::Impl::end_cancelled() {
  std::set<RequestId> ids;
  {
    const std::lock_guard lock(mutex);
    ids.swap(cancelled);
  }
  if (ids.empty()) return;
  const auto end = [&](auto& sequences) {
    for (auto& sequence : sequences)
      if (ids.contains(sequence->request) && sequence->slot != kEnded)
        finish(*sequence, FinishReason::kCancelled, nullptr);
  };
  end(running);
  end(waiting);
  remove_finished();
}

std::vector<ScheduledSequence> Executor::Impl::schedule() {
  std::vector<ScheduleItem> running_items;
  std::vector<ScheduleItem> waiting_items;
  for (const auto& sequence : running) running_items.push_back({sequence->pending(), 0});
  for (const auto& sequence : waiting)
    waiting_items.push_back({sequence->pending(), sequence->longest});
  std::int64_t free_blocks = std::numeric_limits<std::int64_t>::max();
  for (const BlockPool& pool : pools) free_blocks = std::min(free_blocks, pool.free());

  const StepPlan plan = plan_step(running_items, waiting_items, free_blocks, limits);
  std::vector<ScheduledSequence> step;
  for (std::size_t i = 0; i < running.size(); ++i)
    if (plan.running_tokens[i] > 0) step.push_back({running[i].get(), plan.running_tokens[i]});
  for (const std::int64_t tokens : plan.admitted_tokens) {
    start(std::move(waiting.front()));
    waiting.pop_front();
    step.push_back({running.back().get(), tokens});
  }
  return step;
}

void Executor::Impl::start(std::unique_ptr<Sequence> sequence) {
  sequence->slot = free_slots.back();
  free_slots.pop_back();
  for (BlockPool& pool : pools)
    sequence->blocks.push_back(pool.take(blocks_for(sequence->longest, limits.tokens_per_block)));
  running.push_back(std::move(sequence));
}

void Executor::Impl::run_step(std::vector<ScheduledSequence>& step) {
  const auto begin = std::chrono::steady_clock::now();
  try {
    const Batch batch = build_batch(step);
    session->prepare(batch);
    session->forward();
    const std::shared_ptr<StepHandle> handle = session->sample(LateInputs{});
    const StepResult result = handle->wait();
    const bool wants_logits = std::any_of(step.begin(), step.end(), [](const auto& scheduled) {
      return scheduled.sequence->spec->context_logits ||
             scheduled.sequence->spec->generation_logits;
    });
    const Tensor logits = wants_logits ? session->read("logits") : Tensor();
    for (std::size_t s = 0; s < step.size(); ++s) deliver(step[s], result.sequences[s], logits);
  } catch (const Error& error) {
    fail_step(step, error);
  } catch (const std::exception& error) {
    fail_step(step, Error(ErrorCode::kInternal, error.what()));
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  const std::lock_guard lock(mutex);
  ++stats.steps;
  stats.step_seconds += took.count();
}

void Executor::Impl::deliver(ScheduledSequence& scheduled, const SequenceResult& result,
                             const Tensor& logits) {
  Sequence& sequence = *scheduled.sequence;
  const std::int64_t first_position = sequence.cached;
  const bool was_context = sequence.cached < sequence.prompt_length;
  sequence.cached += scheduled.tokens;
  {
    const std::lock_guard lock(mutex);
    if (was_context) stats.context_tokens += static_cast<std::uint64_t>(scheduled.tokens);
    stats.generated_tokens += result.tokens.size();
  }
  try {
    const bool wanted = sequence.spec->context_logits && was_context;
    if (scheduled.logit_rows > 0 && (wanted || sequence.spec->generation_logits)) {
      const std::int64_t vocab = logits.shape().at(1);
      const std::int64_t position = wanted ? first_position : sequence.cached - 1;
      sequence.spec->sink->on_logits(sequence.sample, position,
                                     {logits.view().as<float>() + scheduled.first_logit_row * vocab,
                                      static_cast<std::size_t>(scheduled.logit_rows * vocab)},
                                     vocab);
    }
    if (!scheduled.samples) return;
    TENON_CHECK(!result.tokens.empty(), ErrorCode::kInvalidArgument,
                "allowed_tokens: the mask of this step allows no token at all");
    sequence.tokens.insert(sequence.tokens.end(), result.tokens.begin(), result.tokens.end());
    const auto verdict = sequence.spec->sink->on_tokens(sequence.sample, result);
    FinishReason reason = reason_to_end(sequence, result.tokens.back());
    if (verdict == RequestSink::Verdict::kStop) reason = FinishReason::kStopWords;
    if (reason != FinishReason::kNotFinished) finish(sequence, reason, nullptr);
  } catch (const Error& error) {
    finish(sequence, FinishReason::kError, &error);
  } catch (const std::exception& error) {
    const Error wrapped(ErrorCode::kInternal, std::string("a callback threw: ") + error.what());
    finish(sequence, FinishReason::kError, &wrapped);
  }
}

void Executor::Impl::finish(Sequence& sequence, FinishReason reason, const Error* error) {
  if (sequence.slot == kEnded) return;
  release(sequence);
  sequence.slot = kEnded;
  try {
    sequence.spec->sink->on_finish(sequence.sample, reason, error);
  } catch (const std::exception&) {
    // The request is over either way, and nobody is left to tell.
  }
  const std::lock_guard lock(mutex);
  ++stats.finished_requests;
}

void Executor::Impl::release(Sequence& sequence) {
  if (sequence.slot >= 0) free_slots.push_back(sequence.slot);
  for (std::size_t group = 0; group < sequence.blocks.size(); ++group)
    pools[group].give_back(sequence.blocks[group]);
  sequence.blocks.clear();
}

void Executor::Impl::fail_step(std::vector<ScheduledSequence>& step, const Error& error) {
  for (ScheduledSequence& scheduled : step)
    finish(*scheduled.sequence, FinishReason::kError, &error);
}

void Executor::Impl::remove_finished() {
  const auto ended = [](const std::unique_ptr<Sequence>& sequence) {
    return sequence->slot == kEnded;
  };
  std::erase_if(running, ended);
  std::erase_if(waiting, ended);
}

void Executor::Impl::publish() {
  const std::lock_guard lock(mutex);
  stats.running = static_cast<std::int64_t>(running.size());
  stats.waiting = static_cast<std::int64_t>(waiting.size());
  stats.free_blocks = 0;
  stats.total_blocks = 0;
  for (const BlockPool& pool : pools) {
    stats.free_blocks += pool.free();
    stats.total_blocks += pool.total();
  }
}

}  // namespace tenon
