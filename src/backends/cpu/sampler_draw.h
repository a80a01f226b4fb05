// Drawing a token: temperature, then which tokens stay (top_k; top_p of what that left; min_p;
// typical_p of what those left), then one of these by a random number of seed, sample and position.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

#include "backends/cpu/sampler_row.h"
#include "backends/cpu/sampler_state.h"

namespace tenon::cpu {

/// No random number is needed: the likeliest token is taken. A temperature whose inverse would blow
/// up leaves one token anyway.
bool is_greedy(const SamplingParams& params);

/// top_p after its decay: top_p * top_p_decay^(tokens since top_p_reset_id), at least top_p_min.
double current_top_p(const SamplingState& state);

/// The tokens that may be drawn, with weights that add up to `total`, in a fixed order.
struct KeptTokens {
  std::span<const Candidate> few;  ///< logit is the weight; empty where `row` says it
  std::span<const float> row;      ///< the weight of each token of the vocabulary, or empty
  double total = 0.0;

  /// Where [0, total) is cut into runs as long as the weights, the token whose run holds u * total;
  /// `u` in [0, 1). -1 where nothing is kept.
  std::int32_t at(double u) const;
};

/// Of the logits in scratch.logits, which are overwritten.
KeptTokens kept_tokens(const SamplingState& state, const SamplerScratch& scratch);

/// `position`: of the token in its sequence. -1 where every logit is -infinity or NaN.
std::int32_t draw(const SamplingState& state, std::int64_t position, const SamplerScratch& scratch);

}  // namespace tenon::cpu
