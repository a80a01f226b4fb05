// A request as the executor takes it: token ids in, events out. Text is not known here.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backends/batch.h"
#include "core/tensor.h"
#include "tenon/error.h"
#include "tenon/request.h"
#include "tenon/sampling.h"

namespace tenon {

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
  /// A tapped output of the step with the prompt, one row a token.
  virtual void on_output(const std::string& name, const Tensor& value) { (void)name, (void)value; }
  /// Beam search is over: all tokens of beam `beam` of n, best first, before its on_finish; then
  /// on_logits, a row a token, where asked for.
  virtual void on_beam(int beam, const SequenceResult& result, float score) {
    (void)beam, (void)result, (void)score;
  }
  /// The last call for a sample. `error` is null unless reason is kError.
  virtual void on_finish(int sample, FinishReason reason, const Error* error) = 0;
  /// Before the last on_finish of the request.
  virtual void on_timing(const RequestTiming& timing) { (void)timing; }
};

struct Request {
  std::vector<std::int32_t> input_ids;
  SamplingParams sampling;
  /// The model's own ends of sequence; ignored where sampling.ignore_eos.
  std::vector<std::int32_t> end_ids;
  bool context_logits = false;     ///< of every prompt token
  bool generation_logits = false;  ///< of every token that is sampled from
  /// Outputs of the program that on_output wants, of one step that holds the prompt and nothing
  /// else.
  std::vector<std::string> taps;
  bool embedding = false;  ///< no tokens are drawn; on_embedding is called instead
  RequestOptions options;
  std::shared_ptr<RequestSink> sink;

  /// Samples the executor draws: best_of, or n.
  int samples() const { return sampling.best_of > 0 ? sampling.best_of : sampling.n; }
};

}  // namespace tenon
