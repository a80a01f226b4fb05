// A sink that allocates nothing, so that what fails while it listens is the executor's. It counts
// what must happen once.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <optional>
#include <vector>

#include "runtime/request.h"

namespace tenon::test {

class QuietSink : public RequestSink {
 public:
  static constexpr int kSamples = 4;
  explicit QuietSink(std::size_t room) {
    for (auto& one : tokens) one.reserve(room);
  }

  Verdict on_tokens(int sample, const SequenceResult& result) override {
    auto& mine = tokens[static_cast<std::size_t>(sample)];
    if (ends(sample) > 0 || mine.size() + result.tokens.size() > mine.capacity()) ++faults;
    mine.insert(mine.end(), result.tokens.begin(), result.tokens.end());
    return Verdict::kContinue;
  }
  void on_beam(int beam, const SequenceResult& result, float) override {
    const std::vector<std::int32_t>& ids = result.tokens;
    tokens[static_cast<std::size_t>(beam)].assign(ids.begin(), ids.end());
  }
  void on_logits(int, std::int64_t, std::span<const float> rows, std::int64_t vocab) override {
    logit_rows += static_cast<std::int64_t>(rows.size()) / vocab;
  }
  void on_timing(const RequestTiming& told) override { timing = told; }
  void on_finish(int sample, FinishReason reason, const Error* error) override {
    const auto at = static_cast<std::size_t>(sample);
    if ((reason == FinishReason::kError) != (error != nullptr)) ++faults;
    reasons[at] = reason;
    ++ended[at];
  }

  int ends(int sample) const { return ended[static_cast<std::size_t>(sample)]; }

  std::array<std::vector<std::int32_t>, kSamples> tokens;
  std::array<FinishReason, kSamples> reasons{};
  std::array<std::atomic<int>, kSamples> ended{};
  RequestTiming timing;
  std::int64_t logit_rows = 0;
  int faults = 0;
};

}  // namespace tenon::test
