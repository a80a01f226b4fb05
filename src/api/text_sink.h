// TextSink: one prompt's tokens become text as they arrive: held back while a stop may be forming,
// detokenized, handed to the caller's Deliveries. Works without a tokenizer too: then on ids alone.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/deliveries.h"
#include "runtime/request.h"
#include "text/stop_strings.h"
#include "text/stream_decoder.h"
#include "text/tokenizer.h"

namespace tenon {

class TextSink : public RequestSink {
 public:
  /// `streams`: pieces of text are posted as they come.
  TextSink(std::size_t request, std::shared_ptr<const Tokenizer> tokenizer,
           const SamplingParams& sampling, std::vector<std::int32_t> end_ids, bool streams,
           std::shared_ptr<Deliveries> deliveries);

  Verdict on_tokens(int sample, const SequenceResult& result) override;
  void on_prompt_logprobs(std::int64_t position, const SequenceResult& result) override;
  void on_logits(int sample, std::int64_t position, std::span<const float> rows,
                 std::int64_t vocab_size) override;
  void on_embedding(std::span<const float> values) override;
  void on_output(const std::string& name, const Tensor& value) override;
  void on_beam(int beam, const SequenceResult& result, float score) override;
  void on_timing(const RequestTiming& timing) override { timing_ = timing; }
  void on_finish(int sample, FinishReason reason, const Error* error) override;

  /// A sample as far as it has come, and how many of its tokens no stop run can take back.
  const CompletionOutput& sample(int index) const {
    return samples_[static_cast<std::size_t>(index)].output;
  }
  std::size_t settled_tokens(int index) const {
    return samples_[static_cast<std::size_t>(index)].decoded;
  }

  /// The caller wants no more of this sample than what it had with `last`.
  void cut(const Delivery& last);

  // After Deliveries::wait(). Rethrow a failure of the request.
  RequestOutput take();
  std::vector<float> take_embedding();
  const Tensor& output() const;

  /// Whether pieces of text are worth posting: the outputs are known before the end.
  static bool can_stream(const SamplingParams& sampling);

 private:
  struct Sample {
    std::optional<StreamDecoder> decoder;
    StopStrings stops;
    CompletionOutput output;
    std::size_t decoded = 0;  // tokens of output whose text was taken
    bool stopped = false;
  };

  bool is_end(std::int32_t token, std::size_t count) const;
  std::size_t held_back(const Sample& sample) const;
  std::size_t stop_run(const Sample& sample) const;
  void decode(Sample& sample, std::size_t end);
  void add_text(Sample& sample, std::string_view text, bool last);
  void add_logprobs(Sample& sample, const SequenceResult& result);
  static void shorten(CompletionOutput& output, std::size_t tokens);
  void keep_best(std::vector<CompletionOutput>& outputs) const;

  std::size_t request_;
  SamplingParams sampling_;
  std::vector<std::int32_t> end_ids_;
  std::vector<std::vector<std::int32_t>> stop_runs_;  // tokens and runs of tokens that end it
  bool streams_;
  std::shared_ptr<Deliveries> deliveries_;
  std::vector<Sample> samples_;
  std::vector<std::pair<std::size_t, Delivery>> cuts_;  // by sample, where the caller said no
  std::vector<TokenLogprobs> prompt_logprobs_;
  TokenLogits context_logits_;
  std::vector<float> embedding_;
  std::optional<Tensor> output_;
  RequestTiming timing_;
  std::optional<Error> error_;
};

}  // namespace tenon
