// Flags that every command with a model shares: which model, how it is loaded, how it samples.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/command_line.h"
#include "tenon/llm.h"

namespace tenon::cli {

class ModelFlags {
 public:
  void add(CommandLine& line);
  /// The one place that was named; throws Error{kInvalidArgument} for none or several.
  std::string path() const;
  LlmOptions options() const;

 private:
  std::string positional_, engine_dir_, model_dir_, checkpoint_dir_, template_file_;
  LlmOptions options_;
  std::optional<std::int64_t> max_tokens_in_cache_;
  bool no_pin_ = false;
  bool no_cache_ = false;
};

class SamplingFlags {
 public:
  void add(CommandLine& line);
  /// The model's own defaults with the given flags on top.
  SamplingParams apply(const SamplingParams& defaults) const;

 private:
  std::optional<double> temperature_, top_p_, min_p_, repetition_penalty_, presence_penalty_,
      frequency_penalty_;
  std::optional<std::int64_t> top_k_, random_seed_, min_length_, num_return_sequences_;
  std::vector<std::string> stop_words_;
  bool ignore_eos_ = false;
};

/// "temperature 0.7, top_k 20, top_p 0.8", "greedy"
std::string describe(const SamplingParams& sampling);

}  // namespace tenon::cli
