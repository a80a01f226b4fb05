// SPDX-License-Identifier: Apache-2.0
#include "runtime/request_loop.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <limits>
#include <mutex>
#include <random>
#include <thread>

#include "core/check.h"
#include "core/deadline.h"
#include "runtime/request_check.h"

namespace tenon {
namespace {

using Clock = std::chrono::steady_clock;

std::uint64_t random_seed() {
  static std::mutex mutex;
  static std::mt19937_64 generator{std::random_device{}()};
  const std::lock_guard lock(mutex);
  return generator();
}

struct Arrival {
  RequestId id = 0;
  std::shared_ptr<const Request> spec;
  std::uint64_t seed = 0;
  std::int64_t max_new_tokens = 0;
  double time = 0;
};

struct Cancellation {
  RequestId id = 0;
  int sample = -1;
};

/// The Impl whose loop this thread runs. A thread's id would not do: it may be given out again.
thread_local const void* loop_of_this_thread = nullptr;

}  // namespace

struct RequestLoop::Impl {
  std::unique_ptr<Session> session;
  RequestLoopOptions options;
  StepRunner runner;
  const Clock::time_point begin = Clock::now();

  // Shared with callers.
  mutable std::mutex mutex;
  std::condition_variable wake;  // the loop waits for work
  std::condition_variable idle;  // drain() waits for the end of it
  std::condition_variable room;  // await_room() waits for requests to leave the queue
  std::vector<Arrival> inbox;
  std::vector<Cancellation> cancellations;
  RequestId next_id = 1;
  RequestId cancel_before = 0;  // requests that came before this one are to end; 0: none are
  bool draining = false;
  bool stopping = false;
  bool stopped = false;
  bool is_idle = true;
  std::optional<Error> failure;
  ExecutorStatistics stats;
  std::uint64_t refused = 0;
  std::int64_t inbox_tokens = 0;
  // Taken out of the inbox since `stats` were published, which do not know them yet.
  std::int64_t taken = 0;
  std::int64_t taken_tokens = 0;
  std::int64_t waiting_tokens = 0;  // of prompts that had not begun then
  double last_step = 0;
  std::deque<IterationStatistics> iterations;
  std::deque<KvCacheEvent> events;

  std::mutex stop_mutex;  // one stop() at a time
  std::thread thread;

  Impl(std::unique_ptr<Session> taken, const RequestLoopOptions& wanted)
      : session(std::move(taken)), options(wanted), runner(*session, wanted.steps) {}

  double now() const { return std::chrono::duration<double>(Clock::now() - begin).count(); }

  struct Queue {
    std::int64_t requests = 0;
    std::int64_t tokens = 0;
  };
  Queue queue() const;
  bool has_room(std::int64_t tokens) const;
  std::int64_t longest() const;
  void check_queue(const Request& request) const;
  void loop();
  bool take_in();
  void keep_statistics();
  void keep_events();
  void publish();
};

RequestLoop::RequestLoop(std::unique_ptr<Session> session, const RequestLoopOptions& options)
    : impl_(std::make_unique<Impl>(std::move(session), options)) {
  impl_->stats = impl_->runner.statistics();
  impl_->thread = std::thread([impl = impl_.get()] { impl->loop(); });
}

RequestLoop::~RequestLoop() { stop(); }

/// Tokens that one sequence may come to.
std::int64_t RequestLoop::Impl::longest() const {
  const SessionOptions& limits = session->options();
  std::int64_t blocks = std::numeric_limits<std::int64_t>::max();
  for (const Session::CacheGroup& group : session->cache_groups())
    if (group.window == 0) blocks = std::min(blocks, group.blocks);
  const bool unlimited = blocks == std::numeric_limits<std::int64_t>::max();
  const std::int64_t tokens =
      unlimited ? limits.max_sequence_length : blocks * limits.tokens_per_block;
  return std::min(tokens, limits.max_sequence_length);
}

/// Requests that wait, and the tokens of their prompts.
RequestLoop::Impl::Queue RequestLoop::Impl::queue() const {
  return {stats.queued_requests + taken + static_cast<std::int64_t>(inbox.size()),
          waiting_tokens + taken_tokens + inbox_tokens};
}

bool RequestLoop::Impl::has_room(std::int64_t tokens) const {
  const Queue now = queue();
  return now.requests < options.max_queue &&
         (options.max_queue_tokens == 0 || now.tokens + tokens <= options.max_queue_tokens);
}

void RequestLoop::Impl::check_queue(const Request& request) const {
  TENON_CHECK(!failure, ErrorCode::kInternal,
              "the session failed and takes no requests: {}; load it again",
              failure ? failure->what() : "");
  TENON_CHECK(!stopping && !draining, ErrorCode::kCancelled, "the executor is shutting down");
  const auto [queued, queued_tokens] = queue();
  const double rate = stats.step_seconds > 0
                          ? static_cast<double>(stats.finished_requests) / stats.step_seconds
                          : 0;
  const std::string estimate =
      rate > 0 ? fmt::format("about {:.1f} s at the present rate of {:.2f} requests/s",
                             static_cast<double>(queued) / rate, rate)
               : std::string("nothing has finished yet to tell how long");
  TENON_CHECK(queued < options.max_queue, ErrorCode::kResourceExhausted,
              "the queue is full: {} requests wait (max_queue_size {}), {}; try again later",
              queued, options.max_queue, estimate);
  const auto tokens = static_cast<std::int64_t>(request.input_ids.size());
  TENON_CHECK(options.max_queue_tokens == 0 || queued_tokens + tokens <= options.max_queue_tokens,
              ErrorCode::kResourceExhausted,
              "the queue is full: {} prompt tokens wait and {} more came (limit {}), {}",
              queued_tokens, tokens, options.max_queue_tokens, estimate);
}

RequestId RequestLoop::enqueue(Request request) {
  Impl& impl = *impl_;
  Arrival arrival;
  try {
    const std::int64_t beams = request.sampling.beam_width;
    TENON_CHECK(impl.options.max_beam_width == 0 || beams <= impl.options.max_beam_width,
                ErrorCode::kInvalidArgument,
                "beam_width: {} beams, the limit is {} (max_beam_width); use fewer, or set a "
                "larger limit for the run",
                beams, impl.options.max_beam_width);
    arrival.max_new_tokens = check_request(request, *impl.session, impl.longest());
    if (!request.options.queue_seconds) request.options.queue_seconds = impl.options.queue_seconds;
    if (!request.options.total_seconds) request.options.total_seconds = impl.options.total_seconds;
    arrival.seed = request.sampling.seed ? *request.sampling.seed : random_seed();
    arrival.spec = std::make_shared<const Request>(std::move(request));
    const std::lock_guard lock(impl.mutex);
    impl.check_queue(*arrival.spec);
    arrival.id = impl.next_id++;
    arrival.time = impl.now();
    impl.inbox.push_back(arrival);
    impl.inbox_tokens += static_cast<std::int64_t>(arrival.spec->input_ids.size());
    if (std::exchange(impl.is_idle, false)) impl.last_step = arrival.time;  // none was due before
  } catch (...) {
    const std::lock_guard lock(impl.mutex);
    ++impl.refused;
    throw;
  }
  impl.wake.notify_one();
  return arrival.id;
}

bool RequestLoop::await_room(std::int64_t prompt_tokens, double seconds) {
  std::unique_lock lock(impl_->mutex);
  return impl_->room.wait_until(lock, deadline_after(seconds), [&] {
    return impl_->has_room(prompt_tokens) || impl_->failure || impl_->stopping || impl_->draining;
  });
}

void RequestLoop::count_refused() {
  const std::lock_guard lock(impl_->mutex);
  ++impl_->refused;
}

void RequestLoop::cancel(RequestId id, int sample) {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->cancellations.push_back({id, sample});
  }
  impl_->wake.notify_one();
}

void RequestLoop::cancel_all() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->cancel_before = impl_->next_id;
  }
  impl_->wake.notify_one();
}

void RequestLoop::check_may_wait(const char* what) const {
  TENON_CHECK(!is_own_thread(), ErrorCode::kInvalidArgument,
              "{} was called in the executor's own thread (from a logits processor or a token "
              "constraint), which it would wait for; call it from another thread",
              what);
}

bool RequestLoop::is_own_thread() const { return loop_of_this_thread == impl_.get(); }

bool RequestLoop::drain(std::optional<double> seconds) {
  check_may_wait("drain()");
  std::unique_lock lock(impl_->mutex);
  impl_->draining = true;
  impl_->room.notify_all();
  const auto ended = [this] { return impl_->is_idle || impl_->stopped; };
  if (!seconds) {
    impl_->idle.wait(lock, ended);
    return true;
  }
  return impl_->idle.wait_until(lock, deadline_after(*seconds), ended);
}

void RequestLoop::stop() {
  check_may_wait("shutdown()");
  const std::lock_guard once(impl_->stop_mutex);
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
  }
  impl_->wake.notify_all();
  impl_->room.notify_all();
  if (impl_->thread.joinable()) impl_->thread.join();
}

ExecutorHealth RequestLoop::health() const {
  const std::lock_guard lock(impl_->mutex);
  ExecutorHealth health;
  using State = ExecutorHealth::State;
  if (impl_->failure) {
    health.state = State::kFailed;
    health.message = impl_->failure->what();
  } else if (impl_->stopped || impl_->stopping) {
    health.state = State::kStopped;
  } else if (impl_->draining) {
    health.state = State::kDraining;
  }
  if (!impl_->is_idle) health.last_step_seconds_ago = impl_->now() - impl_->last_step;
  return health;
}

ExecutorStatistics RequestLoop::statistics() const {
  const std::lock_guard lock(impl_->mutex);
  ExecutorStatistics stats = impl_->stats;
  stats.queued_requests = impl_->queue().requests;
  stats.refused_requests = impl_->refused;
  return stats;
}

std::vector<IterationStatistics> RequestLoop::take_iteration_statistics() {
  const std::lock_guard lock(impl_->mutex);
  std::vector<IterationStatistics> out(impl_->iterations.begin(), impl_->iterations.end());
  impl_->iterations.clear();
  return out;
}

std::vector<KvCacheEvent> RequestLoop::take_cache_events() {
  const std::lock_guard lock(impl_->mutex);
  std::vector<KvCacheEvent> out(std::make_move_iterator(impl_->events.begin()),
                                std::make_move_iterator(impl_->events.end()));
  impl_->events.clear();
  return out;
}

const Session& RequestLoop::session() const { return *impl_->session; }
Session& RequestLoop::session() { return *impl_->session; }

void RequestLoop::Impl::loop() {
  loop_of_this_thread = this;
  const std::function<double()> clock = [this] { return now(); };
  while (take_in()) {
    runner.expire(now());
    runner.iterate(clock);
    publish();
  }
  runner.end_all(FinishReason::kCancelled, nullptr, now());
  do runner.iterate(clock);  // what is still in flight
  while (runner.busy());
  publish();
  const std::lock_guard lock(mutex);
  is_idle = true;
  stopped = true;
  idle.notify_all();
}

/// Waits for work; false at shutdown.
bool RequestLoop::Impl::take_in() {
  std::vector<Arrival> arrivals;
  std::vector<Cancellation> cancelled;
  RequestId all_before = 0;
  {
    std::unique_lock lock(mutex);
    const auto has_work = [this] {
      return stopping || !inbox.empty() || !cancellations.empty() || cancel_before > 0 ||
             runner.busy();
    };
    wake.wait(lock, has_work);
    arrivals.swap(inbox);
    taken += static_cast<std::int64_t>(arrivals.size());
    taken_tokens += std::exchange(inbox_tokens, 0);
    cancelled.swap(cancellations);
    all_before = std::exchange(cancel_before, 0);
    if (stopping) {  // those who just came are told so with the others
      for (Arrival& one : arrivals)
        runner.add(one.id, std::move(one.spec), one.seed, one.max_new_tokens, one.time);
      return false;
    }
  }
  for (Arrival& one : arrivals)
    runner.add(one.id, std::move(one.spec), one.seed, one.max_new_tokens, one.time);
  const double time = now();
  for (const Cancellation& one : cancelled) runner.cancel(one.id, one.sample, time);
  if (all_before > 0) runner.cancel_before(all_before, time);
  return true;
}

void RequestLoop::Impl::keep_statistics() {
  if (options.iteration_statistics <= 0) return;
  iterations.push_back(runner.last_iteration());
  if (static_cast<std::int64_t>(iterations.size()) > options.iteration_statistics)
    iterations.pop_front();
}

void RequestLoop::Impl::keep_events() {
  std::vector<KvCacheEvent> fresh = runner.cache().take_events();
  for (KvCacheEvent& event : fresh) {
    events.push_back(std::move(event));
    if (static_cast<std::int64_t>(events.size()) > options.steps.cache_events) events.pop_front();
  }
}

/// What callers may ask for, as it stands after an iteration.
void RequestLoop::Impl::publish() {
  const std::lock_guard lock(mutex);
  const ExecutorStatistics before = std::exchange(stats, runner.statistics());
  waiting_tokens = runner.waiting_tokens();
  taken = taken_tokens = 0;
  last_step = now();
  try {
    if (stats.steps != before.steps) keep_statistics();
    if (options.steps.cache_events > 0) keep_events();
  } catch (const std::bad_alloc&) {
    // A step's statistics are lost, as those beyond the limit are; events leave a gap in their ids.
  }
  if (runner.failure()) failure = runner.failure();
  is_idle = !runner.busy() && inbox.empty();
  if (is_idle) idle.notify_all();
  room.notify_all();
}

}  // namespace tenon
