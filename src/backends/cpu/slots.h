// Slots: what a sequence keeps between steps — block tables, last sampled token, sampling state.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <unordered_map>
#include <vector>

#include "backends/backend.h"

namespace tenon::cpu {

/// How often penalties have met a token.
struct TokenUse {
  std::int32_t outputs = 0;  ///< times it was sampled; 0: it stands in the prompt alone
};

/// What sampling needs to know of a sequence.
struct SamplingState {
  SamplingParams params;
  std::int32_t sample_index = 0;
  std::vector<std::int32_t> end_ids;
  std::int32_t output_count = 0;
  std::unordered_map<std::int32_t, TokenUse> used;
};

struct Slot {
  std::vector<std::vector<std::int32_t>> tables;  ///< one a cache group
  std::int32_t last_token = kLastSampledToken;    ///< none yet
  SamplingState sampling;
};

class Slots {
 public:
  Slots(std::int64_t count, std::span<const CacheGroupDescription> groups);

  /// Throws Error{kInternal} where the update names a slot, group or block that is not there.
  void apply(const SlotUpdate& update);
  /// A token was sampled.
  void record(std::int32_t slot, std::int32_t token);

  const Slot& at(std::int32_t slot) const;

  /// Throws Error{kInternal} where the tables do not reach over the tokens of the step.
  void check_tables(const Batch& batch) const;
  /// [group][sequence]
  std::vector<std::vector<std::span<const std::int32_t>>> tables(const Batch& batch) const;

 private:
  std::vector<Slot> slots_;
  std::vector<CacheGroupDescription> groups_;
};

}  // namespace tenon::cpu
