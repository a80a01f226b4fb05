// A sink that writes down what a request hears, and holds the executor to the order of events.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runtime/request.h"

namespace tenon::test {

class Recorder : public RequestSink {
 public:
  Verdict on_tokens(int sample, const SequenceResult& result) override {
    EXPECT_FALSE(reasons.contains(sample)) << "tokens after the end";
    EXPECT_FALSE(timing) << "tokens after the timing";
    auto& mine = tokens[sample];
    mine.insert(mine.end(), result.tokens.begin(), result.tokens.end());
    if (throw_after && mine.size() >= *throw_after) throw std::runtime_error("the caller's fault");
    return stop_after && mine.size() >= *stop_after ? Verdict::kStop : Verdict::kContinue;
  }
  void on_prompt_logprobs(std::int64_t position, const SequenceResult& result) override {
    EXPECT_TRUE(prompt_logprobs.emplace(position, result).second) << "twice";
  }
  void on_logits(int sample, std::int64_t position, std::span<const float> rows,
                 std::int64_t vocab) override {
    for (std::size_t i = 0; i * static_cast<std::size_t>(vocab) < rows.size(); ++i) {
      const auto row =
          rows.subspan(i * static_cast<std::size_t>(vocab), static_cast<std::size_t>(vocab));
      const auto at = std::pair(sample, position + static_cast<std::int64_t>(i));
      EXPECT_TRUE(logits.emplace(at, std::vector<float>(row.begin(), row.end())).second) << "twice";
    }
  }
  void on_embedding(std::span<const float> values) override {
    embedding.assign(values.begin(), values.end());
  }
  void on_beam(int beam, const SequenceResult& result, float score) override {
    tokens[beam] = result.tokens;
    beams[beam] = result;
    scores[beam] = score;
  }
  void on_timing(const RequestTiming& t) override { timing = t; }
  void on_finish(int sample, FinishReason reason, const Error* error) override {
    EXPECT_TRUE(reasons.emplace(sample, reason).second) << "a sample ends twice";
    if (error != nullptr) message = error->what();
  }

  std::optional<std::size_t> stop_after;
  std::optional<std::size_t> throw_after;
  std::map<int, std::vector<std::int32_t>> tokens;
  std::map<int, FinishReason> reasons;
  std::map<int, float> scores;
  std::map<int, SequenceResult> beams;
  std::map<std::int64_t, SequenceResult> prompt_logprobs;
  std::map<std::pair<int, std::int64_t>, std::vector<float>> logits;
  std::vector<float> embedding;
  std::optional<RequestTiming> timing;
  std::string message;
};

}  // namespace tenon::test
