// ServingModel: an engine that is loaded and serves, with its text: what LLM and Executor share.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "api/engine_impl.h"
#include "api/text_assets.h"
#include "runtime/request_loop.h"
#include "tenon/llm.h"

namespace tenon {

/// Tokenizer, template and defaults of the engine, with what the run asks for in their place.
TextAssets load_text(const Engine::Impl& engine, const LlmOptions& options);

struct ServingModel {
  std::shared_ptr<Engine::Impl> engine;
  TextAssets text;
  std::unique_ptr<RequestLoop> loop;
  double load_seconds = 0;

  /// `path`: what a worker process can open to find the same; empty: the engine's own directory.
  ServingModel(std::shared_ptr<Engine::Impl> opened, const LlmOptions& options,
               const std::string& path = {});
  /// The same, to be let go of anywhere: where that is in the loop's own thread (a hook held the
  /// last reference), another thread ends it.
  static std::shared_ptr<ServingModel> make(std::shared_ptr<Engine::Impl> opened,
                                            const LlmOptions& options,
                                            const std::string& path = {});
  /// From a path or id, through the cache folder.
  static std::shared_ptr<ServingModel> load(const std::string& path_or_id,
                                            const LlmOptions& options);

  /// Throws Error{kNotFound} where there is none.
  const Tokenizer& tokenizer() const;
  std::string apply_chat_template(const std::vector<ChatMessage>& messages,
                                  bool add_generation_prompt) const;
  /// Ids of a prompt in any form; `as_text`, where not null, becomes what stands before the answer.
  std::vector<std::int32_t> encode(const Prompt& prompt, std::string* as_text = nullptr) const;
  /// A request with the model's ends, and texts turned to tokens where the sampler needs them.
  Request request(std::vector<std::int32_t> ids, const SamplingParams& sampling) const;
  std::int64_t max_seq_len() const;
};

}  // namespace tenon
