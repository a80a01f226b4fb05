// SPDX-License-Identifier: Apache-2.0
#include "core/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <exception>
#include <fstream>
#include <mutex>
#include <set>
#include <string>
#include <thread>

namespace tenon {
namespace {

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/// Threads of a pool with these options, the caller included.
int pool_size(const ThreadPool::Options& options) {
  return std::clamp(options.threads > 0 ? options.threads : available_cores(), 1, 1024);
}

}  // namespace

void keep_this_thread_on(const std::vector<int>& cores) {
  if (cores.empty()) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int core : cores) CPU_SET(core, &set);
  pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

std::vector<int> pinned_cores(const ThreadPool::Options& options) {
  if (!options.pin) return {};
  std::vector<int> cores = options.cores.empty() ? physical_cores() : options.cores;
  const auto count = static_cast<std::size_t>(pool_size(options));
  // More threads than cores are left to the operating system: pinning would only pile them up.
  if (count > cores.size()) return {};
  cores.resize(count);
  return cores;
}

double cpu_quota() {
  std::ifstream v2("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (v2 >> quota >> period && quota != "max" && period > 0) return std::stod(quota) / period;
  double quota_us = -1;
  double period_us = 0;
  std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") >> quota_us;
  std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_period_us") >> period_us;
  return quota_us > 0 && period_us > 0 ? quota_us / period_us : 0;
}

std::vector<int> physical_cores() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return {0};
  std::set<std::string> seen;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    std::string siblings;
    std::ifstream("/sys/devices/system/cpu/cpu" + std::to_string(cpu) +
                  "/topology/thread_siblings_list") >>
        siblings;
    if (siblings.empty() || seen.insert(siblings).second) cores.push_back(cpu);
  }
  return cores.empty() ? std::vector<int>{0} : cores;
}

int available_cores() {
  auto cores = static_cast<int>(physical_cores().size());
  if (const double limit = cpu_quota(); limit > 0)
    cores = std::min(cores, std::max(1, static_cast<int>(std::floor(limit))));
  return cores;
}

struct ThreadPool::Impl {
  std::vector<std::thread> threads;
  std::mutex mutex;
  std::condition_variable wake;
  std::atomic<std::uint64_t> job{0};  // a new number starts a job
  std::atomic<int> running{0};
  std::atomic<std::int64_t> next{0};
  std::int64_t count = 0;
  const std::function<void(std::int64_t, int)>* body = nullptr;
  std::exception_ptr error;
  std::atomic<bool> stop{false};

  void work(int worker) {
    try {
      for (std::int64_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) (*body)(i, worker);
    } catch (...) {
      next.store(count);
      const std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
    }
  }

  void loop(int worker, int core) {
    if (core >= 0) keep_this_thread_on({core});
    std::uint64_t seen = 0;
    while (true) {
      constexpr int kSpins = 4000;  // about 0.1 ms, longer than a gap between two kernels
      for (int spin = 0; spin < kSpins && job.load(std::memory_order_acquire) == seen; ++spin)
        pause();
      if (job.load(std::memory_order_acquire) == seen) {
        std::unique_lock lock(mutex);
        wake.wait(lock, [&] { return job.load() != seen || stop.load(); });
      }
      if (stop.load()) return;
      seen = job.load(std::memory_order_acquire);
      work(worker);
      running.fetch_sub(1, std::memory_order_release);
    }
  }
};

ThreadPool::ThreadPool(const Options& options) : impl_(std::make_unique<Impl>()) {
  const int count = pool_size(options);
  const std::vector<int> cores = pinned_cores(options);
  for (int worker = 1; worker < count; ++worker)
    impl_->threads.emplace_back(
        [this, worker, core = cores.empty() ? -1 : cores[static_cast<std::size_t>(worker)]] {
          impl_->loop(worker, core);
        });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stop.store(true);
    impl_->job.fetch_add(1);
  }
  impl_->wake.notify_all();
  for (std::thread& thread : impl_->threads) thread.join();
}

int ThreadPool::size() const { return static_cast<int>(impl_->threads.size()) + 1; }

void ThreadPool::run(std::int64_t count, const std::function<void(std::int64_t, int)>& body) {
  if (count <= 0) return;
  if (count == 1 || impl_->threads.empty()) {
    for (std::int64_t i = 0; i < count; ++i) body(i, 0);
    return;
  }
  Impl& pool = *impl_;
  pool.count = count;
  pool.body = &body;
  pool.error = nullptr;
  pool.next.store(0);
  pool.running.store(static_cast<int>(pool.threads.size()));
  {
    const std::lock_guard lock(pool.mutex);
    pool.job.fetch_add(1, std::memory_order_release);
  }
  pool.wake.notify_all();
  pool.work(0);
  for (int spins = 0; pool.running.load(std::memory_order_acquire) != 0; ++spins) {
    if (spins < 20000)
      pause();
    else
      std::this_thread::yield();
  }
  if (pool.error) std::rethrow_exception(pool.error);
}

void ThreadPool::run_ranges(std::int64_t total, std::int64_t grain,
                            const std::function<void(std::int64_t, std::int64_t, int)>& body) {
  if (total <= 0) return;
  const std::int64_t pieces =
      std::clamp<std::int64_t>(total / std::max<std::int64_t>(grain, 1), 1, size());
  run(pieces, [&](std::int64_t piece, int worker) {
    body(total * piece / pieces, total * (piece + 1) / pieces, worker);
  });
}

}  // namespace tenon
