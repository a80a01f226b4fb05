// Flags that every command with a model shares: which model, how it is loaded.
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

}  // namespace tenon::cli
