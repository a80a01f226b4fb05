// What the sampler's tests share: a sampler with its own memory, states, logits.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <random>
#include <span>
#include <string_view>
#include <vector>

#include "backends/cpu/sampler.h"

namespace tenon::cpu {

inline constexpr float kInf = -kNever;

class Sampler {
 public:
  explicit Sampler(std::int64_t vocabulary, std::string_view isa = {})
      : memory_(static_cast<std::size_t>(SamplerScratch::bytes(vocabulary))),
        scratch_(SamplerScratch::over(memory_.data(), vocabulary,
                                      isa_kernels(CpuFeatures::detect(isa)))) {}

  SampledToken operator()(std::span<const float> logits, const SamplingState& state,
                          std::int64_t position = 0, std::span<const std::uint32_t> allowed = {}) {
    return sample_token(logits, state, position, allowed, scratch_);
  }
  std::vector<TokenLogprob> beam(std::span<const float> logits, const SamplingState& state,
                                 std::span<const std::uint32_t> allowed = {}) {
    return continue_beam(logits, state, allowed, scratch_);
  }
  const SamplerScratch& scratch() const { return scratch_; }

 private:
  std::vector<std::byte> memory_;
  SamplerScratch scratch_;
};

inline SamplingState with(const SamplingParams& params) {
  SamplingState state;
  state.params = params;
  state.settle();
  return state;
}

inline std::vector<float> random_logits(std::size_t count, unsigned seed, float deviation) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.F, deviation);
  std::vector<float> out(count);
  for (float& x : out) x = normal(generator);
  return out;
}

}  // namespace tenon::cpu
