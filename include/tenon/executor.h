// Executor: requests of token ids in, responses out, for programs that embed an engine and do their
// own text. The names are those of TensorRT-LLM's Executor. LLM is the same with text.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tenon/engine.h"
#include "tenon/error.h"
#include "tenon/executor_config.h"
#include "tenon/export.h"
#include "tenon/llm.h"
#include "tenon/request.h"
#include "tenon/sampling.h"
#include "tenon/statistics.h"

namespace tenon {

/// What is asked of the executor for one prompt.
struct TENON_API GenerationRequest {
  std::vector<std::int32_t> input_token_ids{};  ///< the prompt; at least one
  /// SamplingParams::stop and bad are text and need the engine's tokenizer; the other fields do
  /// not.
  SamplingParams sampling{};
  /// A response for every step instead of one at the end (not with beams or best_of).
  bool streaming = false;
  /// Ends of sequence in place of the model's own.
  std::optional<std::vector<std::int32_t>> end_ids{};
  /// No tokens: the response holds the last token's hidden state after the last norm.
  bool embedding = false;
  RequestOptions options{};  ///< priority, time limits, hooks
};

/// What one sample or beam of a request has to say.
struct TENON_API Response {
  RequestId request_id = 0;  ///< what enqueue_request gave
  int sample = 0;            ///< which of its samples or beams
  /// Streaming: what is new since the last response; otherwise all.
  std::vector<std::int32_t> token_ids{};
  std::vector<TokenLogprobs> logprobs{};  ///< of token_ids, where asked for
  float cumulative_logprob = 0.0F;        ///< of all tokens so far, where asked for
  float score = 0.0F;                     ///< of a beam
  FinishReason finish_reason = FinishReason::kNotFinished;  ///< why the sample ended
  bool is_final = false;                                    ///< the last of the whole request
  /// Set where the request failed; finish_reason is kError then.
  std::optional<Error> error{};
  // With the last response of sample 0.
  std::vector<TokenLogprobs> prompt_logprobs{};  ///< of prompt tokens 1, 2, …
  TokenLogits context_logits{};                  ///< one row a prompt token
  std::vector<float> embedding{};                ///< [hidden_size]
  TokenLogits generation_logits{};               ///< with the last response of each sample
  RequestTiming timing{};                        ///< where is_final
};

/// Called from a thread of the executor's own, one at a time; one that blocks holds up other
/// callbacks, never a step. What it throws cancels its request. It may call any method of the
/// executor; shutdown() in it does not wait for the callbacks that are still to come.
using ResponseCallback = std::function<void(const Response&)>;

class TENON_API Executor {
 public:
  /// LlmOptions::executor has the executor's own settings.
  explicit Executor(const std::string& path_or_id, const LlmOptions& options = {});
  explicit Executor(const Engine& engine, const LlmOptions& options = {});
  /// shutdown().
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  /// Returns at once. With a callback, responses go there; without, they wait for
  /// await_responses(). Throws Error{kInvalidArgument} naming the field, Error{kResourceExhausted}
  /// where the queue is full, with an estimate of how long it will be. Any thread may call.
  RequestId enqueue_request(GenerationRequest request, ResponseCallback callback = {});
  /// All or none.
  std::vector<RequestId> enqueue_requests(std::vector<GenerationRequest> requests);

  /// Responses of one request, or of any: at least one, unless the timeout passes first. Throws
  /// Error{kNotFound} for a request that is unknown, has a callback, or was answered to its end.
  std::vector<Response> await_responses(
      std::optional<RequestId> id = std::nullopt,
      std::optional<std::chrono::milliseconds> timeout = std::nullopt);
  /// Responses that wait, of one request or of all.
  std::size_t responses_ready(std::optional<RequestId> id = std::nullopt) const;

  /// Does nothing for a request that has ended; otherwise its last response says kCancelled.
  void cancel_request(RequestId id);

  /// Takes nothing new and returns when all has ended, or false after the timeout.
  bool drain(std::optional<std::chrono::milliseconds> timeout = std::nullopt);
  /// Ends what runs with kCancelled. Responses that wait can still be taken.
  void shutdown();

  ExecutorHealth health() const;          ///< whether it takes requests, and why not
  ExecutorStatistics statistics() const;  ///< counts since the start
  /// Of the steps since the last call, oldest first.
  std::vector<IterationStatistics> take_iteration_statistics();
  std::vector<KvCacheEvent> take_cache_events();  ///< since the last call, oldest first

  std::int64_t max_seq_len() const;  ///< tokens of a sequence, prompt and output
  std::string memory_plan() const;   ///< the ledger, row by row, as text

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// One JSON object, for logs and monitors.
TENON_API std::string to_json(const IterationStatistics& statistics);
TENON_API std::string to_json(const ExecutorStatistics& statistics);  ///< the same
TENON_API std::string to_json(const RequestTiming& timing);           ///< the same

}  // namespace tenon
