// Flags of the executor: how requests share the steps, how large the KV cache is and what it keeps.
// The names are those of TensorRT-LLM's run.py, benchmarks and KvCacheConfig, where they have one.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "cli/command_line.h"
#include "tenon/executor_config.h"

namespace tenon::cli {

class ExecutorFlags {
 public:
  void add(CommandLine& line);
  /// Throws Error{kInvalidArgument} naming the flag that is wrong.
  ExecutorConfig config() const;
  const std::string& scheduler_policy() const { return scheduler_policy_; }

 private:
  void check() const;
  void check_cache() const;

  ExecutorConfig config_{};
  std::string scheduler_policy_ = "guaranteed_no_evict";
  std::string context_chunking_ = "first_come_first_served";
  std::optional<std::int64_t> max_beam_width_, tokens_per_block_;
  bool chunked_context_ = true;  ///< of TensorRT-LLM's command lines: it cannot be turned off
};

}  // namespace tenon::cli
