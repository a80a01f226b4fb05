// Drawing a token on the device: which tokens stay (top_k; top_p of what that left; min_p;
// typical_p of what those left) and which of them a number falls on, as backends/cpu/sampler_draw.h
// says.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cuda/device/sampler_block.cuh"
#include "backends/cuda/device/sampling_state.h"

namespace tenon::cuda {

/// The tokens that may be drawn. A token lighter than 2^-40 of the likeliest never is.
struct KeptTokens {
  const float* logits;
  std::int32_t vocabulary;
  float largest;
  float temperature;
  Head head;
  float min_weight;
  double mean;     ///< of the scaled logits
  float furthest;  ///< from the mean

  __device__ Mass mass_of(float x) const {
    const float weight = expf((x - largest) * (1.F / temperature));
    // Not so for NaN either, which an infinite logit makes of itself.
    return weight >= min_weight && weight > 0.F ? __float2ull_rz(weight * kWeightOne) : 0;
  }
  /// Information is log Z minus the scaled logit and its mean the entropy: their difference.
  __device__ float distance(float x) const {
    const double scaled =
        (static_cast<double>(x) - static_cast<double>(largest)) / static_cast<double>(temperature);
    return static_cast<float>(fabs(scaled - mean));
  }
  __device__ Mass mass_at(std::int32_t i) const {
    const float x = logits[i];
    if (!(x > never()) || !head.holds(key_of(x), i)) return 0;
    const Mass mass = mass_of(x);
    if (mass > 0 && furthest < INFINITY && distance(x) > furthest) return 0;
    return mass;
  }
};

__device__ inline Mass total_of(const KeptTokens& kept, SamplerShared& shared) {
  Mass mass = 0;
  for (std::int32_t i = threadIdx.x; i < kept.vocabulary; i += kSamplerThreads)
    mass += kept.mass_at(i);
  return block_total(mass, shared);
}

__device__ inline Reached reach_mass(const KeptTokens& kept, Mass wanted, SamplerShared& shared) {
  return reach(
      kept.vocabulary, wanted,
      [&](std::int32_t i) { return Item{key_of(kept.logits[i]), kept.mass_at(i)}; }, shared);
}

/// Of those kept with this key, the one of rank `rank` by id.
__device__ inline std::int32_t tie_of_rank(const KeptTokens& kept, std::uint32_t key, Mass rank,
                                           SamplerShared& shared) {
  return locate(
      kept.vocabulary, rank,
      [&](std::int32_t i) -> Mass { return key_of(kept.logits[i]) == key && kept.mass_at(i) > 0; },
      shared);
}

__device__ inline Mass share_of(double part, Mass all) {
  const auto wanted = static_cast<Mass>(ceil(part * static_cast<double>(all)));
  return wanted < 1 ? 1 : wanted;
}

// The shortest run of the likeliest whose mass reaches top_p.
__device__ inline void cut_mass(KeptTokens& kept, double top_p, SamplerShared& shared) {
  const Mass wanted = share_of(top_p, total_of(kept, shared));
  const Reached reached = reach_mass(kept, wanted, shared);
  if (!reached.found) return;
  const Mass each = kept.mass_of(value_of(reached.key));
  const Mass ties = (wanted - reached.above + each - 1) / each;
  if (reached.key != kept.head.key) kept.head.last_id = 0x7FFFFFFF;
  if (ties * each < reached.at)
    kept.head.last_id = tie_of_rank(kept, reached.key, ties - 1, shared);
  kept.head.key = reached.key;
}

// Those whose information is nearest to the entropy, up to the mass typical_p.
__device__ inline void cut_typical(KeptTokens& kept, float typical_p, SamplerShared& shared) {
  const Mass total = total_of(kept, shared);
  if (total == 0) return;
  double mean = 0.0;
  for (std::int32_t i = threadIdx.x; i < kept.vocabulary; i += kSamplerThreads)
    if (const Mass mass = kept.mass_at(i); mass > 0)
      mean += static_cast<double>(mass) / static_cast<double>(total) *
              ((static_cast<double>(kept.logits[i]) - static_cast<double>(kept.largest)) /
               static_cast<double>(kept.temperature));
  kept.mean = block_sum(mean, shared);
  // Distances are not negative: their bits order them; the nearest has the greatest key.
  const Reached reached = reach(
      kept.vocabulary, share_of(static_cast<double>(typical_p), total),
      [&](std::int32_t i) {
        return Item{~__float_as_uint(kept.distance(kept.logits[i])), kept.mass_at(i)};
      },
      shared);
  if (reached.found) kept.furthest = __uint_as_float(~reached.key);
}

__device__ inline double current_top_p(const SlotSampling& p, const SlotCounts& counts) {
  const auto top_p = static_cast<double>(p.top_p > 0.F ? p.top_p : 1.F);
  if (p.top_p_decay >= 1.F) return top_p;
  const double decayed =
      top_p * pow(static_cast<double>(p.top_p_decay), static_cast<double>(counts.since_reset));
  return fmax(decayed, static_cast<double>(p.top_p_min));
}

/// `u` in [0, 1). -1 where nothing may be drawn.
__device__ inline std::int32_t draw(const SlotSampling& p, const SlotCounts& counts,
                                    const float* logits, std::int32_t vocabulary, float largest,
                                    double u, SamplerShared& shared) {
  KeptTokens kept{logits, vocabulary, largest, p.temperature, {}, 0.F, 0.0, INFINITY};
  const double top_p = current_top_p(p, counts);
  const bool cuts = top_p > 0.0 && top_p < 1.0;
  if (p.top_k > 0)
    kept.head = head_of_count(logits, vocabulary, static_cast<Mass>(p.top_k), shared);
  if (cuts) cut_mass(kept, top_p, shared);
  kept.min_weight = p.min_p;
  if (p.typical_p < 1.F) cut_typical(kept, p.typical_p, shared);
  const Mass total = total_of(kept, shared);
  if (total == 0) return -1;
  auto target = static_cast<Mass>(u * static_cast<double>(total));
  if (target >= total) target = total - 1;
  // Tokens that were ordered lie end to end in that order, others by id.
  if (p.typical_p < 1.F || (p.top_k <= 0 && !cuts))
    return locate(vocabulary, target, [&](std::int32_t i) { return kept.mass_at(i); }, shared);
  const Reached reached = reach_mass(kept, target + 1, shared);
  const Mass each = kept.mass_of(value_of(reached.key));
  return tie_of_rank(kept, reached.key, (target - reached.above) / each, shared);
}

}  // namespace tenon::cuda
