// The sampler: one row of logits and a sequence's sampling state to one token. A row depends on
// nothing else, so a sequence gets the same token whoever shares its batch.
//
// Order: log-probabilities are of the raw logits. Then repetition, presence and frequency penalty,
// the allowed-token mask, end ids held back (min_tokens); then, unless greedy, temperature, top_k,
// top_p (of what top_k left), min_p.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "backends/cpu/isa/isa_kernels.h"
#include "backends/cpu/slots.h"

namespace tenon::cpu {

struct Candidate {
  float logit = 0.F;
  std::int32_t token = 0;
};

/// The `count` largest logits, largest first, the lower id first where they tie. NaN and -infinity
/// are never among them. `buffer` holds logits.size() candidates.
std::span<Candidate> select_top(std::span<const float> logits, std::int64_t count,
                                std::span<Candidate> buffer);

/// Largest logit, lowest id where several tie; -1 where none is above -infinity.
std::int32_t argmax(std::span<const float> logits);

struct SampledToken {
  std::int32_t token = -1;  ///< -1: the mask left nothing
  float logprob = 0.F;
  std::vector<TokenLogprob> top;
};

/// Memory of one thread, and the inner loops to use (null: plain ones).
struct SamplerScratch {
  std::span<float> logits;          ///< [vocabulary]
  std::span<Candidate> candidates;  ///< [vocabulary]
  const IsaKernels* isa = nullptr;

  static std::int64_t bytes(std::int64_t vocabulary);
  static SamplerScratch over(std::byte* memory, std::int64_t vocabulary, const IsaKernels* isa);
};

/// `position`: of the token to be sampled in its sequence; `allowed`: a bit a token, or empty.
SampledToken sample_token(std::span<const float> logits, const SamplingState& state,
                          std::int64_t position, std::span<const std::uint32_t> allowed,
                          const SamplerScratch& scratch);

}  // namespace tenon::cpu
