// TextSink: one prompt's tokens become text as they arrive: detokenized, held back while a stop
// text may be forming, handed to the caller. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "runtime/request.h"
#include "tenon/llm.h"
#include "text/stop_strings.h"
#include "text/stream_decoder.h"
#include "text/tokenizer.h"

namespace tenon {

/// Counts the samples of one generate() call that are still running.
class Completion {
 public:
  void add(int samples);
  void finish_one();
  void wait();

 private:
  std::mutex mutex_;
  std::condition_variable done_;
  int running_ = 0;
};

class TextSink : public RequestSink {
 public:
  TextSink(std::size_t request, std::shared_ptr<const Tokenizer> tokenizer,
           const SamplingParams& sampling, std::vector<std::int32_t> end_ids, OnText on_text,
           std::shared_ptr<Completion> completion);

  Verdict on_tokens(int sample, const SequenceResult& result) override;
  void on_logits(int sample, std::int64_t position, std::span<const float> rows,
                 std::int64_t vocab_size) override;
  void on_finish(int sample, FinishReason reason, const Error* error) override;

  /// After Completion::wait(). Rethrows a failure of the request.
  RequestOutput take();

 private:
  struct Sample {
    std::optional<StreamDecoder> decoder;
    StopStrings stops;
    CompletionOutput output;
    bool stopped = false;
  };

  bool is_end(std::int32_t token, const Sample& sample) const;
  void add_text(Sample& sample, std::string_view text, bool last);
  void add_logprobs(Sample& sample, const SequenceResult& result);

  std::size_t request_;
  SamplingParams sampling_;
  std::vector<std::int32_t> end_ids_;
  OnText on_text_;
  std::shared_ptr<Completion> completion_;
  std::vector<Sample> samples_;
  std::chrono::steady_clock::time_point begin_;
  RequestTimes times_;
  std::optional<Error> error_;
};

}  // namespace tenon
