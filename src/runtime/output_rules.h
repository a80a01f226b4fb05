// Where an output ends, and log-probabilities that the host works out itself.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

#include "runtime/sequence.h"

namespace tenon {

FewEnds few_ends(const Request& spec);

/// Why the sequence ends with its newest known token; kNotFinished where it goes on.
FinishReason reason_to_end(const Sequence& sequence);

/// Log-softmax of a row at `token`, and the `top` likeliest tokens (lower id first where they tie).
SequenceResult logprobs_of_row(std::span<const float> logits, std::int32_t token, std::int32_t top);

}  // namespace tenon
