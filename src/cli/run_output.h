// What `run` writes after the answers: files under TensorRT-LLM's flags, JSON, the figures line.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "tenon/llm.h"

namespace tenon::cli {

struct OutputFiles {
  std::string csv;         ///< output ids, a sequence a line
  std::string npy;         ///< output ids [sequences, longest], padded with -1
  std::string logits_npy;  ///< generation logits [sequences, longest, vocabulary], padded with 0
};

void write_output_files(const OutputFiles& files, const std::vector<RequestOutput>& outputs);

/// {"outputs": [{"prompt", "text", "token_ids", …}], "statistics": {…}}
std::string outputs_as_json(const std::vector<RequestOutput>& outputs, const LLM& llm);

/// "42 tokens in 1.2 s: 35.0 tokens/s, first token after 0.1 s; memory 300 MiB"
std::string figures(const std::vector<RequestOutput>& outputs);

struct MemoryUse {
  std::int64_t anonymous = 0;  ///< bytes of this process's own
  std::int64_t files = 0;      ///< resident bytes of mapped files
};
MemoryUse memory_use();

}  // namespace tenon::cli
