// A request as the executor takes it: token ids in, events out. Text is not known here.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backends/batch.h"
#include "tenon/error.h"
#include "tenon/sampling.h"

namespace tenon {

using RequestId = std::uint64_t;

/// What a request hears, from the executor's thread. A sink must not block: it holds up the step.
/// What it throws ends its request alone.
class RequestSink {
 public:
  virtual ~RequestSink() = default;

  enum class Verdict { kContinue, kStop };
  /// Tokens of sample `sample` in [0, n). kStop ends that sample with FinishReason::kStopWords.
  virtual Verdict on_tokens(int sample, const SequenceResult& result) = 0;
  /// Logits of `rows.size() / vocab_size` consecutive tokens, the first at `position`; only where
  /// the request asked for them.
  virtual void on_logits(int sample, std::int64_t position, std::span<const float> rows,
                         std::int64_t vocab_size) {
    (void)sample, (void)position, (void)rows, (void)vocab_size;
  }
  /// The last call for a sample. `error` is null unless reason is kError.
  virtual void on_finish(int sample, FinishReason reason, const Error* error) = 0;
};

struct Request {
  std::vector<std::int32_t> input_ids;
  SamplingParams sampling;
  /// The model's own ends of sequence; ignored where sampling.ignore_eos.
  std::vector<std::int32_t> end_ids;
  bool context_logits = false;     ///< of every prompt token
  bool generation_logits = false;  ///< of every token that is sampled from
  std::shared_ptr<RequestSink> sink;
};

}  // namespace tenon
