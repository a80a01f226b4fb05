// SPDX-License-Identifier: Apache-2.0
#include "runtime/output_rules.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

namespace tenon {
namespace {

using Ids = std::vector<std::int32_t>;

/// One sequence, as a request is taken in, after a prompt of three tokens that all rules name.
struct Output {
  explicit Output(const Request& wanted) {
    request.spec = std::make_shared<const Request>(wanted);
    sequence.request = &request;
    sequence.ends = few_ends(*request.spec);
    sequence.tokens = {2, 3, 7};
    sequence.prompt_length = 3;
    sequence.max_new_tokens = 6;
  }
  FinishReason after(const Ids& outputs) {
    sequence.tokens.resize(3);
    sequence.tokens.insert(sequence.tokens.end(), outputs.begin(), outputs.end());
    return reason_to_end(sequence);
  }
  ActiveRequest request;
  Sequence sequence;
};

constexpr auto kOn = FinishReason::kNotFinished;
constexpr auto kEnd = FinishReason::kEndId;
constexpr auto kStop = FinishReason::kStopWords;

TEST(OutputRules, EndIdsEndTheOutputHoweverManyThereAre) {
  for (const Ids& ends : {Ids{}, Ids{2}, Ids{2, 3}, Ids{2, 3, 7}, Ids{2, 3, 7, 9}}) {
    Request request;
    request.end_ids = ends;
    Output output(request);
    EXPECT_EQ(output.sequence.ends.all, ends.size() <= 2) << "the short way and the long one";
    for (std::int32_t token = 0; token < 12; ++token)
      EXPECT_EQ(output.after({token}), std::ranges::count(ends, token) > 0 ? kEnd : kOn) << token;
  }
}

TEST(OutputRules, IgnoreEosLeavesTheOtherRules) {
  Request request;
  request.end_ids = {2, 3};
  request.sampling.ignore_eos = true;
  EXPECT_EQ(Output(request).after({2}), kOn);
  request.sampling.stop_token_ids = {5};
  EXPECT_EQ(Output(request).after({2}), kOn);
  EXPECT_EQ(Output(request).after({5}), kStop);
}

TEST(OutputRules, StopTokensAndWordsStandBesideOneEndId) {
  Request request;
  request.end_ids = {2};
  request.sampling.stop_token_ids = {5};
  EXPECT_EQ(Output(request).after({2}), kEnd);
  EXPECT_EQ(Output(request).after({5}), kStop);
  EXPECT_EQ(Output(request).after({6}), kOn);
  request.sampling.stop_token_ids.clear();
  request.sampling.stop_words = {{7, 8}};
  EXPECT_EQ(Output(request).after({2}), kEnd);
  EXPECT_EQ(Output(request).after({7, 8}), kStop);
  EXPECT_EQ(Output(request).after({8}), kOn) << "the prompt's last token is no part of the word";
}

TEST(OutputRules, NothingButTheLengthEndsItBeforeMinTokens) {
  for (const bool words : {false, true}) {
    Request request;
    request.end_ids = {2};
    request.sampling.min_tokens = 3;
    if (words) request.sampling.stop_words = {{5}};
    Output output(request);
    EXPECT_EQ(output.after({2}), kOn);
    EXPECT_EQ(output.after({4, 2}), kOn);
    EXPECT_EQ(output.after({4, 4, 2}), kEnd);
    EXPECT_EQ(output.after({4, 4, 4, 4, 4, 4}), FinishReason::kLength);
    EXPECT_EQ(output.after({4, 4, 4, 4, 4, 2}), kEnd) << "the end id is the better reason";
    output.sequence.max_new_tokens = 2;
    EXPECT_EQ(output.after({4, 2}), FinishReason::kLength);
  }
}

}  // namespace
}  // namespace tenon
