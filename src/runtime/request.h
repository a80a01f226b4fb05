// A request as the executor takes it: token ids in, events out. Text is not known here.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backends/batch.h"
#include "tenon/error.h"
#include "tenon/kv_cache.h"
#include "tenon/sampling.h"

namespace tenon {

using RequestId = std::uint64_t;

/// Where a request stood when it ended.
struct RequestTiming {
  double queued_seconds = 0;       ///< until its first token ran
  double first_token_seconds = 0;  ///< until its first token came out; 0: none did
  double total_seconds = 0;
  std::int64_t reused_tokens = 0;  ///< of the prompt, found in the cache
  std::int32_t preemptions = 0;
};

/// What a request hears, from the executor's thread. A sink must not block: it holds up the step.
/// What it throws ends its request alone.
class RequestSink {
 public:
  virtual ~RequestSink() = default;

  enum class Verdict { kContinue, kStop };
  /// Tokens of sample `sample` in [0, samples). kStop ends that sample with
  /// FinishReason::kStopWords.
  virtual Verdict on_tokens(int sample, const SequenceResult& result) = 0;
  /// Log-probabilities of the prompt's tokens [position, position + size), where asked for; the
  /// first token of the prompt has none.
  virtual void on_prompt_logprobs(std::int64_t position, const SequenceResult& result) {
    (void)position, (void)result;
  }
  /// Logits of `rows.size() / vocab_size` consecutive tokens, the first at `position`; only where
  /// the request asked for them.
  virtual void on_logits(int sample, std::int64_t position, std::span<const float> rows,
                         std::int64_t vocab_size) {
    (void)sample, (void)position, (void)rows, (void)vocab_size;
  }
  /// The hidden state of the last token after the last norm, where Request::embedding.
  virtual void on_embedding(std::span<const float> values) { (void)values; }
  /// Beam search is over: beam `beam` of n, best first, before its on_finish.
  virtual void on_beam(int beam, std::span<const std::int32_t> tokens,
                       std::span<const float> logprobs, float score) {
    (void)beam, (void)tokens, (void)logprobs, (void)score;
  }
  /// The last call for a sample. `error` is null unless reason is kError.
  virtual void on_finish(int sample, FinishReason reason, const Error* error) = 0;
  /// Before the last on_finish of the request.
  virtual void on_timing(const RequestTiming& timing) { (void)timing; }
};

/// Restricts what may be drawn next: a grammar's state for one sequence. Called from the executor's
/// thread, in the order of the output; after a preemption it goes on where it stood.
class TokenConstraint {
 public:
  virtual ~TokenConstraint() = default;
  /// A state of its own for another sample of the same request, at the output's beginning.
  virtual std::unique_ptr<TokenConstraint> fresh() const = 0;
  /// Bit t of `allowed` ([(vocab + 31) / 32], all 0 before) for each token that may come next.
  virtual void allowed(std::span<std::uint32_t> allowed) = 0;
  virtual void accept(std::int32_t token) = 0;
};

/// What a logits processor sees and may change.
struct LogitsView {
  RequestId request = 0;
  int sample = 0;
  std::span<const std::int32_t> tokens;  ///< prompt and output so far
  std::int64_t prompt_length = 0;
  std::span<float> logits;  ///< [vocab], before penalties and temperature
};
using LogitsProcessor = std::function<void(const LogitsView&)>;

struct Request {
  std::vector<std::int32_t> input_ids;
  SamplingParams sampling;
  /// The model's own ends of sequence; ignored where sampling.ignore_eos.
  std::vector<std::int32_t> end_ids;
  bool context_logits = false;     ///< of every prompt token
  bool generation_logits = false;  ///< of every token that is sampled from
  bool embedding = false;          ///< no tokens are drawn; on_embedding is called instead
  /// Who may share cached prefixes with it: equal salts alone.
  std::string cache_salt;
  KvRetention retention;
  double priority = 0.5;                ///< in [0, 1]: 1 goes first
  std::optional<double> queue_seconds;  ///< ends with kTimedOut where it has not begun by then
  std::optional<double> total_seconds;  ///< ends with kTimedOut, with what it has by then
  std::shared_ptr<const TokenConstraint> constraint;
  LogitsProcessor logits_processor;
  std::shared_ptr<RequestSink> sink;

  /// Samples the executor draws: best_of, or n.
  int samples() const { return sampling.best_of > 0 ? sampling.best_of : sampling.n; }
};

}  // namespace tenon
