// What the host knows of slots' histories on the device. Needs no GPU.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "backends/cuda/slot_sampling.h"
#include "tenon/error.h"

namespace tenon::cuda {
namespace {

const SamplingParams kUse{.frequency_penalty = 0.5F, .prompt_ignore_length = 3};
const SamplingParams kOrder{.no_repeat_ngram_size = 2};

SlotUpdate start(std::int32_t slot, const SamplingParams& params,
                 std::vector<std::int32_t> prompt = {1, 2}) {
  SlotUpdate update{.slot = slot, .reset = true};
  update.sampling = params;
  update.history = std::move(prompt);
  return update;
}

SlotUpdate follow(std::int32_t slot, std::int32_t parent) {
  SlotUpdate update{.slot = slot};
  update.parent = parent;
  update.outputs = {5};
  return update;
}

HistoryChange only(SlotSamplings& slots, const SlotUpdate& update) {
  return slots.apply({&update, 1}).at(0);
}

TEST(CudaSlotSamplings, KeepOnlyWhatParametersLookAt) {
  SlotSamplings slots(4, 100, 50);
  EXPECT_FALSE(only(slots, start(0, {})).keeps_use);
  EXPECT_TRUE(only(slots, start(1, kUse)).keeps_use);
  EXPECT_FALSE(only(slots, start(1, kUse)).keeps_order);
  EXPECT_TRUE(only(slots, start(2, kOrder)).keeps_order);
  EXPECT_FALSE(only(slots, start(3, {.bad_words = {{3}}})).keeps_order);
  EXPECT_TRUE(only(slots, start(3, {.bad_words = {{3}, {3, 4}}})).keeps_order);
}

TEST(CudaSlotSamplings, ClearAndTakeOver) {
  SlotSamplings slots(3, 100, 50);
  EXPECT_TRUE(only(slots, start(0, kUse)).clears_use);
  EXPECT_FALSE(only(slots, start(1, {})).clears_use);
  SlotUpdate warmer{.slot = 0};  // goes on with other parameters
  warmer.sampling = kUse;
  EXPECT_FALSE(only(slots, warmer).clears_use);
  only(slots, start(1, kUse));
  const HistoryChange follower = only(slots, follow(1, 0));
  EXPECT_TRUE(follower.takes_use);
  EXPECT_FALSE(follower.clears_use);
  EXPECT_FALSE(follower.takes_order);
  // A parent that has nothing yet: nothing is taken, what the slot had is forgotten.
  only(slots, start(2, {}, {}));
  EXPECT_TRUE(only(slots, follow(1, 2)).clears_use);
}

TEST(CudaSlotSamplings, PromptIsIgnoredAcrossItsPieces) {
  SlotSamplings slots(1, 100, 50);
  EXPECT_EQ(only(slots, start(0, kUse)).history_ignored, 3);
  SlotUpdate more{.slot = 0};
  more.history = {3, 4};
  EXPECT_EQ(only(slots, more).history_ignored, 1);
  EXPECT_EQ(only(slots, more).history_ignored, 0);
}

TEST(CudaSlotSamplings, WhatWasNotKeptIsNotMadeUp) {
  SlotSamplings slots(3, 100, 50);
  slots.apply(std::vector<SlotUpdate>{start(0, {}), start(1, kUse)});
  EXPECT_THROW(only(slots, follow(1, 0)), Error);
  SlotUpdate later{.slot = 0};
  later.sampling = kUse;
  EXPECT_THROW(only(slots, later), Error);
  EXPECT_FALSE(only(slots, follow(0, 0)).keeps_use);  // as it was before it was refused
  only(slots, start(0, {}, {}));
  EXPECT_TRUE(only(slots, later).clears_use);  // nothing went by
  only(slots, start(0, {}, {}));
  Batch batch;
  batch.slots = {0};
  batch.sample_row = {0};
  slots.mark_sampled(batch);
  EXPECT_THROW(only(slots, later), Error);
}

TEST(CudaSlotSamplings, RefuseWhatIsNotThere) {
  SlotSamplings slots(2, 100, 3);
  EXPECT_THROW(only(slots, follow(0, 2)), Error);
  EXPECT_THROW(only(slots, follow(0, -2)), Error);
  EXPECT_THROW(only(slots, follow(2, 0)), Error);
  EXPECT_THROW(only(slots, start(-1, {})), Error);
  EXPECT_THROW(only(slots, start(0, kOrder, {1, 2, 3, 4})), Error);
  EXPECT_THROW(slots.listed(2), Error);
}

TEST(CudaSlotSamplings, HowManyTokensAStepLists) {
  EXPECT_EQ(listed_tokens({}, 2, 100), 0);
  EXPECT_EQ(listed_tokens({.logprobs = 7}, 2, 100), 7);
  EXPECT_EQ(listed_tokens({.logprobs = 700}, 2, 100), 100);
  EXPECT_EQ(listed_tokens({.beam_width = 4}, 0, 100), 8);
  EXPECT_EQ(listed_tokens({.beam_width = 4}, 2, 100), 12);
}

}  // namespace
}  // namespace tenon::cuda
