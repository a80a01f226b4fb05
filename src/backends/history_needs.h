// Which histories of a sequence its sampling parameters look at: a backend keeps no others.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tenon/sampling.h"

namespace tenon {

/// Which tokens were used, and how often: penalties.
bool looks_at_use(const SamplingParams& params);
/// In which order tokens came: n-grams, bad words of several tokens.
bool looks_at_order(const SamplingParams& params);

}  // namespace tenon
