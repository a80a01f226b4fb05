// Drawing a token on the device: which tokens stay (top_k; top_p of what that left; min_p;
// typical_p of what those left) and which of them a number falls on, as backends/cpu/sampler_draw.h
// says.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cuda/device/sampler_kept.cuh"
#include "backends/cuda/device/sampling_state.h"

namespace tenon::cuda {

__device__ inline double current_top_p(const SlotSampling& p, const SlotCounts& counts) {
  const auto top_p = static_cast<double>(p.top_p > 0.F ? p.top_p : 1.F);
  if (p.top_p_decay >= 1.F) return top_p;
  const double decayed =
      top_p * pow(static_cast<double>(p.top_p_decay), static_cast<double>(counts.since_reset));
  return fmax(decayed, static_cast<double>(p.top_p_min));
}

/// What a draw goes by.
struct DrawRules {
  const SlotSampling& p;
  double top_p;
  double u;  ///< in [0, 1)

  __device__ bool cuts_count() const { return p.top_k > 0; }
  __device__ bool cuts_mass() const { return top_p > 0.0 && top_p < 1.0; }
  __device__ bool cuts_typical() const { return p.typical_p < 1.F; }
  __device__ bool ordered() const { return cuts_count() || cuts_mass(); }
};

/// `whole`: the row's mass where it is known, else 0. -1 where nothing may be drawn.
template <class Kept>
__device__ std::int32_t draw_of(Kept& kept, const DrawRules& rules, Mass whole) {
  if (rules.cuts_count()) kept.keep_count(rules.p.top_k);
  if (rules.cuts_mass())
    kept.keep_mass(share_of(rules.top_p, rules.cuts_count() || whole == 0 ? kept.total() : whole));
  kept.keep_weight(rules.p.min_p);
  if (rules.cuts_typical()) kept.keep_typical(static_cast<double>(rules.p.typical_p));
  // Tokens that were ordered lie end to end in that order, others by id.
  return rules.cuts_typical() || !rules.ordered() ? kept.pick_by_id(rules.u)
                                                  : kept.pick_in_order(rules.u);
}

/// `own`: this thread's best token of the row, `largest` the best's value.
__device__ __forceinline__ std::int32_t draw(const DrawRules& rules, const LogitRow& row,
                                             const Best& own, float largest,
                                             SamplerShared& shared) {
  const Weights weights(largest, rules.p.temperature);
  Mass whole = 0;
  if (rules.ordered() && rules.p.top_k <= kSurelyListed) {
    const bool by_mass = !rules.cuts_count();
    const float floor = floor_of_rank(own, by_mass ? kSurelyListed : rules.p.top_k);
    const std::int32_t count = gather<4>(
        row, floor, own, by_mass,
        [&](const float4& x) {
          if (by_mass)
            whole += (weights.mass_of(x.x) + weights.mass_of(x.y)) +
                     (weights.mass_of(x.z) + weights.mass_of(x.w));
        },
        shared);
    if (by_mass) whole = block_total(whole, shared);
    if (count <= kSamplerThreads) {
      KeptOfList kept(sorted_entry(count, shared), count, weights, shared);
      if (!by_mass || kept.total() >= share_of(rules.top_p, whole))
        return draw_of(kept, rules, whole);
    }
  }
  KeptOfRow kept(row, weights, shared);
  return draw_of(kept, rules, whole);
}

}  // namespace tenon::cuda
