// SPDX-License-Identifier: Apache-2.0
#include "core/read_bandwidth.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "core/tensor.h"

namespace tenon {

double read_bandwidth(ThreadPool& pool, std::int64_t bytes, int repeats) {
  using Clock = std::chrono::steady_clock;
  const auto memory = allocate_aligned(static_cast<std::size_t>(bytes));
  std::memset(memory.get(), 1, static_cast<std::size_t>(bytes));
  const auto* words = reinterpret_cast<const std::uint64_t*>(memory.get());
  std::atomic<std::uint64_t> sink{0};  // keeps the loop
  double best = 0;
  for (int repeat = 0; repeat < repeats; ++repeat) {
    const auto start = Clock::now();
    pool.run_ranges(bytes / 64, 1, [&](std::int64_t begin, std::int64_t end, int) {
      std::uint64_t lanes[8] = {};
      for (std::int64_t i = begin; i < end; ++i)
        for (int j = 0; j < 8; ++j) lanes[j] ^= words[i * 8 + j];
      std::uint64_t all = 0;
      for (const std::uint64_t lane : lanes) all ^= lane;
      sink.fetch_xor(all, std::memory_order_relaxed);
    });
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    best = std::max(best, static_cast<double>(bytes) / seconds);
  }
  return best;
}

}  // namespace tenon
