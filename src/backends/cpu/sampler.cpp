// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/sampler.h"

#include <algorithm>
#include <cmath>

#include "backends/cpu/sampler_draw.h"
#include "backends/cpu/sampler_processors.h"

namespace tenon::cpu {
namespace {

// log of the sum of exp(x * inverse)
double log_sum(std::span<const float> logits, float inverse, const IsaKernels* isa) {
  const float largest = largest_of(logits);
  const double total = sum_of_weights(logits, largest, inverse, nullptr, isa);
  return static_cast<double>(largest) * static_cast<double>(inverse) + std::log(total);
}

std::vector<TokenLogprob> likeliest(std::span<const float> logits, std::int64_t count,
                                    float log_total, const SamplerScratch& scratch) {
  std::vector<TokenLogprob> out;
  for (const Candidate& c : select_top(logits, count, scratch.candidates))
    out.push_back({c.token, c.logit - log_total});
  return out;
}

}  // namespace

SampledToken sample_token(std::span<const float> logits, const SamplingState& state,
                          std::int64_t position, std::span<const std::uint32_t> allowed,
                          const SamplerScratch& scratch) {
  SampledToken out;
  const bool greedy = is_greedy(state.params);
  const bool processed = has_processors(state, allowed);
  if (greedy && !processed) {
    out.token = argmax(logits);
  } else {
    std::copy(logits.begin(), logits.end(), scratch.logits.begin());
    if (processed) process(state, allowed, scratch.logits);
    out.token = greedy ? argmax(scratch.logits) : draw(state, position, scratch);
  }
  if (out.token < 0 || !state.params.logprobs) return out;
  const auto log_total = static_cast<float>(log_sum(logits, 1.F, scratch.isa));
  out.logprob = logits[static_cast<std::size_t>(out.token)] - log_total;
  if (*state.params.logprobs > 0)
    out.top = likeliest(logits, *state.params.logprobs, log_total, scratch);
  return out;
}

std::vector<TokenLogprob> continue_beam(std::span<const float> logits, const SamplingState& state,
                                        std::span<const std::uint32_t> allowed,
                                        const SamplerScratch& scratch) {
  const float temperature = state.params.temperature;
  const float inverse = temperature < 1e-6F ? 1.F : 1.F / temperature;
  const auto log_total = static_cast<float>(log_sum(logits, inverse, scratch.isa));
  for (std::size_t i = 0; i < logits.size(); ++i)
    scratch.logits[i] = logits[i] * inverse - log_total;
  if (has_processors(state, allowed)) process(state, allowed, scratch.logits);
  return likeliest(scratch.logits, listed_tokens(state.params, state.end_ids.size()), 0.F, scratch);
}

}  // namespace tenon::cpu
