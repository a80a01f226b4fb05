// A row of logits in device memory, read by 16 bytes, several at once, wherever it begins: the best
// token, sums over all tokens, and the token on which a place falls where they lie by id.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cuda/device/sampler_block.cuh"

namespace tenon::cuda {

/// Ids [0, head) stand before the first multiple of 16 bytes, then `quads` times four, then the
/// tail; head and tail are three at most.
struct LogitRow {
  const float* values;
  std::int32_t count;
  std::int32_t head;
  std::int32_t quads;

  __device__ LogitRow(const float* row, std::int32_t vocabulary) : values(row), count(vocabulary) {
    const auto misplaced = static_cast<std::int32_t>(reinterpret_cast<std::uintptr_t>(row) / 4 % 4);
    head = min((4 - misplaced) % 4, vocabulary);
    quads = (vocabulary - head) / 4;
  }
  __device__ std::int32_t id_of(std::int32_t quad) const { return head + 4 * quad; }
  __device__ float4 quad(std::int32_t at) const {
    return reinterpret_cast<const float4*>(values + head)[at];
  }
};

/// visit(id of its first, quad) of quads first, first + step, ... below `end`, ids rising. Also of
/// quads beyond `end`, whose values are never().
template <int kAtOnce, class Visit>
__device__ void visit_quads(const LogitRow& row, std::int32_t first, std::int32_t end,
                            std::int32_t step, const Visit& visit) {
#pragma unroll 1
  for (std::int32_t at = first; at < end; at += kAtOnce * step) {
    float4 x[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i)
      x[i] = at + i * step < end ? row.quad(at + i * step)
                                 : make_float4(never(), never(), never(), never());
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) visit(row.id_of(at + i * step), x[i]);
  }
}

/// visit(id, value) of each of a quad.
template <class Visit>
__device__ auto each_of_quad(const Visit& visit) {
  return [&visit](std::int32_t id, const float4& x) {
    visit(id, x.x);
    visit(id + 1, x.y);
    visit(id + 2, x.z);
    visit(id + 3, x.w);
  };
}

/// This thread's tokens, ids rising, always the same ones: visit(id, value) of those that are in
/// no quad, visit_quad(id of its first, quad) of others. Also of quads beyond the row, whose values
/// are never().
template <int kAtOnce, class Visit, class VisitQuad>
__device__ void visit_own_quads(const LogitRow& row, const Visit& visit,
                                const VisitQuad& visit_quad) {
  const auto thread = static_cast<std::int32_t>(threadIdx.x);
  if (thread < row.head) visit(thread, row.values[thread]);
  visit_quads<kAtOnce>(row, thread, row.quads, kSamplerThreads, visit_quad);
  const std::int32_t tail = row.id_of(row.quads) + thread;
  if (tail < row.count) visit(tail, row.values[tail]);
}

/// visit(id, value) of this thread's tokens, ids rising: always the same ones. Also ids beyond the
/// row, with the value never().
template <int kAtOnce = 4, class Visit>
__device__ void visit_own(const LogitRow& row, const Visit& visit) {
  visit_own_quads<kAtOnce>(row, visit, each_of_quad(visit));
}

struct Best {
  float value;
  std::int32_t token;  // -1: none above -infinity
};

__device__ inline bool before(const Best& a, const Best& b) {
  if (b.token < 0) return a.token >= 0;
  return a.token >= 0 && (a.value > b.value || (a.value == b.value && a.token < b.token));
}

/// Largest of this thread's logits, lowest id where several tie; NaN does not count.
__device__ inline Best best_of_own(const LogitRow& row) {
  Best best{never(), -1};
  visit_own<8>(row, [&](std::int32_t id, float x) {
    if (x > best.value) best = {x, id};  // ids rise: the first of equals stays
  });
  return best;
}

__device__ inline Best warp_best(Best best) {
  for (int lane = 16; lane > 0; lane /= 2) {
    const Best other{__shfl_xor_sync(kAllLanes, best.value, lane),
                     __shfl_xor_sync(kAllLanes, best.token, lane)};
    if (before(other, best)) best = other;
  }
  return best;
}

/// The best of what the threads have.
__device__ inline Best block_best(Best best, SamplerShared& shared) {
  best = warp_best(best);
  __syncthreads();
  if (lane_of_thread() == 0) {
    shared.value[warp_of_thread()] = best.value;
    shared.token[warp_of_thread()] = best.token;
  }
  __syncthreads();
  return warp_best({shared.value[lane_of_thread()], shared.token[lane_of_thread()]});
}

/// Of 32 runs of ids, one a warp.
struct Runs {
  std::int32_t quads;  ///< of each run; head and tail of the row belong to the outermost
  __device__ explicit Runs(const LogitRow& row)
      : quads(((row.quads + kSamplerWarps - 1) / kSamplerWarps + 31) / 32 * 32) {}
  __device__ std::int32_t quad(const LogitRow& row, int run) const {
    return min(run * quads, row.quads);
  }
  __device__ std::int32_t begin(const LogitRow& row, int run) const {
    if (run == kSamplerWarps) return row.count;
    return run == 0 ? 0 : row.id_of(quad(row, run));
  }
};

/// The sum of mass_at(id, value) over the row; `shared.runs` keeps it of each run.
template <class MassAt>
__device__ Mass sum_runs(const LogitRow& row, const MassAt& mass_at, SamplerShared& shared) {
  const Runs runs(row);
  const int warp = warp_of_thread();
  const int lane = lane_of_thread();
  Mass mine = 0;
  if (warp == 0 && lane < row.head) mine += mass_at(lane, row.values[lane]);
  const auto add = [&](std::int32_t id, float x) { mine += mass_at(id, x); };
  visit_quads<2>(row, runs.quad(row, warp) + lane, runs.quad(row, warp + 1), 32, each_of_quad(add));
  const std::int32_t tail = row.id_of(row.quads) + lane;
  if (warp == kSamplerWarps - 1 && tail < row.count) mine += mass_at(tail, row.values[tail]);
  mine = warp_total(mine);
  __syncthreads();
  if (lane == 0) shared.runs[warp] = mine;
  __syncthreads();
  return warp_total(shared.runs[lane]);
}

/// Where the masses of ids lie end to end, the id whose share holds `target`; -1 where target is
/// not below their sum. After sum_runs() of the same masses.
template <class MassAt>
__device__ std::int32_t locate(const LogitRow& row, Mass target, const MassAt& mass_at,
                               SamplerShared& shared) {
  const Runs runs(row);
  const auto choose = [&target](const Mass* masses) {
    int chosen = 0;
#pragma unroll 1
    while (chosen < kSamplerWarps - 1 && masses[chosen] <= target) target -= masses[chosen++];
    return chosen;
  };
  const int chosen = choose(shared.runs);
  std::int32_t begin = runs.begin(row, chosen);
  std::int32_t end = runs.begin(row, chosen + 1);
  while (end - begin > kSamplerThreads) {
    const std::int32_t run = ((end - begin + kSamplerWarps - 1) / kSamplerWarps + 31) / 32 * 32;
    const std::int32_t last = min(begin + (warp_of_thread() + 1) * run, end);
    Mass mine = 0;
#pragma unroll 1
    for (std::int32_t i = begin + warp_of_thread() * run + lane_of_thread(); i < last; i += 32)
      mine += mass_at(i, row.values[i]);
    mine = warp_total(mine);
    __syncthreads();
    if (lane_of_thread() == 0) shared.mass[warp_of_thread()] = mine;
    __syncthreads();
    const int inner = choose(shared.mass);
    begin = min(begin + inner * run, end);
    end = min(begin + run, end);
  }
  const std::int32_t id = begin + static_cast<std::int32_t>(threadIdx.x);
  return pick(id < end ? mass_at(id, row.values[id]) : 0, target, id, shared);
}

}  // namespace tenon::cuda
