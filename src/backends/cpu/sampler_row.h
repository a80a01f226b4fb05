// A row of logits: its largest, its best, its softmax weights; and the memory of one thread to work
// on it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "backends/cpu/isa/isa_kernels.h"

namespace tenon::cpu {

/// The logit of a token that must not be drawn.
inline constexpr float kNever = -std::numeric_limits<float>::infinity();

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

/// -infinity where there is none. NaN does not count.
float largest_of(std::span<const float> logits);

/// Sum of exp((x - largest) * inverse), written to `weights` where that is not null (it may be the
/// row itself). NaN counts 0. `isa` may be null.
double sum_of_weights(std::span<const float> logits, float largest, float inverse, float* weights,
                      const IsaKernels* isa);

/// Memory of one thread, and the inner loops to use (null: plain ones).
struct SamplerScratch {
  std::span<float> logits;          ///< [vocabulary]
  std::span<Candidate> candidates;  ///< [vocabulary]
  const IsaKernels* isa = nullptr;

  static std::int64_t bytes(std::int64_t vocabulary);
  static SamplerScratch over(std::byte* memory, std::int64_t vocabulary, const IsaKernels* isa);
};

}  // namespace tenon::cpu
