// SPDX-License-Identifier: Apache-2.0
#include "machine_roof.h"

#include <immintrin.h>

#include <algorithm>
#include <chrono>

#include "backends/cpu/cpu_features.h"

namespace tenon::bench {
namespace {

volatile double g_sink = 0;

struct alignas(64) TileConfig {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t bytes_per_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
const TileConfig kTiles;

constexpr std::int64_t kLoops = 2'000'000;

// Ten chains hide the latency of four cycles on two ports.
__attribute__((target("avx512f"))) double fma_loop_512() {
  __m512 sums[10];
  for (auto& s : sums) s = _mm512_set1_ps(1.0F);
  const __m512 a = _mm512_set1_ps(0.999F);
  const __m512 b = _mm512_set1_ps(0.001F);
  for (std::int64_t i = 0; i < kLoops; ++i)
#pragma GCC unroll 10
    for (auto& s : sums) s = _mm512_fmadd_ps(s, a, b);
  __m512 total = sums[0];
  for (int i = 1; i < 10; ++i) total = _mm512_add_ps(total, sums[i]);
  g_sink = _mm512_cvtss_f32(total);
  return 10.0 * 16 * 2 * kLoops;
}

__attribute__((target("avx2,fma"))) double fma_loop_256() {
  __m256 sums[10];
  for (auto& s : sums) s = _mm256_set1_ps(1.0F);
  const __m256 a = _mm256_set1_ps(0.999F);
  const __m256 b = _mm256_set1_ps(0.001F);
  for (std::int64_t i = 0; i < kLoops; ++i)
#pragma GCC unroll 10
    for (auto& s : sums) s = _mm256_fmadd_ps(s, a, b);
  __m256 total = sums[0];
  for (int i = 1; i < 10; ++i) total = _mm256_add_ps(total, sums[i]);
  g_sink = _mm256_cvtss_f32(total);
  return 10.0 * 8 * 2 * kLoops;
}

__attribute__((target("amx-tile,amx-bf16"))) double tile_loop() {
  asm volatile("" ::: "memory");  // GCC 12 thinks that ldtilecfg reads 8 bytes
  _tile_loadconfig(&kTiles);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(6);
  _tile_zero(7);
  const std::int64_t loops = kLoops / 16;
  for (std::int64_t i = 0; i < loops; ++i) {
    _tile_dpbf16ps(0, 6, 7);
    _tile_dpbf16ps(1, 6, 7);
    _tile_dpbf16ps(2, 6, 7);
    _tile_dpbf16ps(3, 6, 7);
  }
  _tile_release();
  return 4.0 * 16 * 16 * 32 * 2 * static_cast<double>(loops);
}

template <class F>
double flops_of_all(ThreadPool& pool, F loop) {
  double best = 0;
  for (int repeat = 0; repeat < 5; ++repeat) {
    double flops = 0;
    const double start = now();
    pool.run(pool.size(), [&](std::int64_t index, int) {
      const double mine = loop();
      if (index == 0) flops = mine;
    });
    best = std::max(best, flops * pool.size() / (now() - start));
  }
  return best;
}

}  // namespace

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double fma_peak(ThreadPool& pool) {
  const auto isa = cpu::CpuFeatures::detect().isa;
  if (isa >= cpu::Isa::kAvx512) return flops_of_all(pool, fma_loop_512);
  if (isa >= cpu::Isa::kAvx2) return flops_of_all(pool, fma_loop_256);
  return 0;
}

double tile_peak(ThreadPool& pool) {
  if (cpu::CpuFeatures::detect().isa < cpu::Isa::kAmx) return 0;
  return flops_of_all(pool, tile_loop);
}

}  // namespace tenon::bench
