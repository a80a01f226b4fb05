// Flags that every command with a model shares: which model, how it is loaded.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/command_line.h"
#include "cli/executor_flags.h"
#include "tenon/llm.h"

namespace tenon::cli {

class ModelFlags {
 public:
  void add(CommandLine& line);
  /// The one place that was named; throws Error{kInvalidArgument} for none or several.
  std::string path() const;
  /// Throws Error{kInvalidArgument} naming the flag that is wrong.
  LlmOptions options() const;
  /// As options() has it, in the words of the command line.
  const std::string& scheduler_policy() const { return executor_.scheduler_policy(); }

 private:
  std::string positional_, engine_dir_, model_dir_, checkpoint_dir_, template_file_;
  LlmOptions options_;
  ExecutorFlags executor_;
  bool no_pin_ = false;
  bool no_cache_ = false;
};

}  // namespace tenon::cli
