// Refuses sampling parameters that a model's vocabulary does not have; see also validate().
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "tenon/sampling.h"

namespace tenon {

/// Throws Error{kInvalidArgument} with the field's name where an id is outside [0, vocab).
void check_token_id(const char* field, std::int32_t id, std::int64_t vocab);
void check_token_ids(const char* field, const std::vector<std::int32_t>& ids, std::int64_t vocab);

/// The same for every token id among the parameters.
void check_vocabulary(const SamplingParams& params, std::int64_t vocab);

}  // namespace tenon
