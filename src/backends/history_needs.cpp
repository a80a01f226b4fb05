// SPDX-License-Identifier: Apache-2.0
#include "backends/history_needs.h"

#include <algorithm>

namespace tenon {

bool looks_at_use(const SamplingParams& params) {
  return params.repetition_penalty != 1.F || params.presence_penalty != 0.F ||
         params.frequency_penalty != 0.F;
}

bool looks_at_order(const SamplingParams& params) {
  return params.no_repeat_ngram_size > 0 ||
         std::any_of(params.bad_words.begin(), params.bad_words.end(),
                     [](const auto& word) { return word.size() > 1; });
}

}  // namespace tenon
