// What sampling knows of a sequence: its parameters, and of its tokens so far what those need.
// Order and counts are kept only where a parameter looks at them; recording a token takes O(1).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "backends/history_needs.h"
#include "tenon/sampling.h"

namespace tenon::cpu {

/// How often penalties have met a token.
struct TokenUse {
  std::int32_t outputs = 0;  ///< times it was sampled; 0: it stands in the prompt alone
};

/// The tokens of a sequence: what a slot takes over from its parent.
struct TokenHistory {
  bool keeps_use = false;    ///< `use` is filled
  bool keeps_order = false;  ///< `order` is filled
  std::int32_t prompt_tokens = 0;
  std::int32_t output_tokens = 0;
  std::int32_t since_reset = 0;  ///< output tokens since top_p_reset_id was met, or the beginning
  std::unordered_map<std::int32_t, TokenUse> use;  ///< without the prompt that is to be ignored
  std::vector<std::int32_t> order;                 ///< prompt and output
};

struct SamplingState {
  SamplingParams params;
  std::int32_t sample_index = 0;
  std::vector<std::int32_t> end_ids;
  TokenHistory history;

  /// After params or history were replaced: keeps what they need and no more. Throws
  /// Error{kInternal} where tokens were already met that should have been kept.
  void settle();
  void add_prompt(std::span<const std::int32_t> tokens);
  void record(std::int32_t token);
};

}  // namespace tenon::cpu
