// Logits processors: what makes tokens of a row more or less likely, or rules them out, before one
// is drawn. In this order, which is transformers' where it has one: logit_bias; repetition,
// presence and frequency penalty; no_repeat_ngram_size; bad_words; the allowed-token mask; end ids
// held back (min_tokens), unless nothing else is left.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

#include "backends/cpu/sampler_state.h"

namespace tenon::cpu {

/// Whether process() would change a row.
bool has_processors(const SamplingState& state, std::span<const std::uint32_t> allowed);

/// `allowed`: a bit a token, or empty; `row`: logits, or log-probabilities in a beam search. What
/// must not be drawn becomes -infinity.
void process(const SamplingState& state, std::span<const std::uint32_t> allowed,
             std::span<float> row);

}  // namespace tenon::cpu
