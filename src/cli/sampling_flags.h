// Flags that say how a command with a model samples, on top of the model's own defaults.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command_line.h"
#include "tenon/sampling.h"

namespace tenon::cli {

class SamplingFlags {
 public:
  void add(CommandLine& line);
  /// The model's own defaults with the given flags on top.
  SamplingParams apply(const SamplingParams& defaults) const;
  /// Places of a batch that one prompt takes.
  std::int64_t sequences() const {
    constexpr std::int64_t kMost = 256;  // more are refused by name later
    return std::clamp<std::int64_t>(std::max(num_beams_.value_or(1), best_of_.value_or(1)), 1,
                                    kMost);
  }

 private:
  void apply_mode(SamplingParams& params) const;

  std::optional<double> temperature_, top_p_, top_p_decay_, top_p_min_, min_p_, typical_p_,
      repetition_penalty_, presence_penalty_, frequency_penalty_, length_penalty_,
      beam_search_diversity_rate_;
  std::optional<std::int64_t> top_k_, top_p_reset_id_, prompt_ignore_length_, no_repeat_ngram_size_,
      random_seed_, min_length_, num_return_sequences_, best_of_, num_beams_, early_stopping_;
  std::vector<std::string> logit_bias_, bad_words_, stop_words_;
  bool ignore_eos_ = false;
};

/// An error's message that names fields of SamplingParams, in the words of the command line.
std::string in_flag_words(std::string_view message);

/// "temperature 0.7, top_k 20, top_p 0.8", "greedy", "4 beams"
std::string describe(const SamplingParams& sampling);

}  // namespace tenon::cli
