// The sampler: one row of logits and a sequence's sampling state to one token, or to a beam's best
// continuations. A row depends on nothing else, so a sequence gets the same whoever shares its
// batch. Log-probabilities of drawn tokens are of the raw logits; then come the logits processors
// (sampler_processors.h), then, unless greedy, the draw (sampler_draw.h).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "backends/batch.h"
#include "backends/cpu/sampler_row.h"
#include "backends/cpu/sampler_state.h"

namespace tenon::cpu {

struct SampledToken {
  std::int32_t token = -1;  ///< -1: nothing may be drawn
  float logprob = 0.F;
  std::vector<TokenLogprob> top;
};

/// `position`: of the token to be sampled in its sequence; `allowed`: a bit a token, or empty.
SampledToken sample_token(std::span<const float> logits, const SamplingState& state,
                          std::int64_t position, std::span<const std::uint32_t> allowed,
                          const SamplerScratch& scratch);

/// The listed_tokens() likeliest continuations of a beam, best first, fewer where fewer are
/// allowed: log-softmax of the logits over temperature (0 counts as 1), then the processors.
std::vector<TokenLogprob> continue_beam(std::span<const float> logits, const SamplingState& state,
                                        std::span<const std::uint32_t> allowed,
                                        const SamplerScratch& scratch);

}  // namespace tenon::cpu
