// What a slot remembers of its tokens, and what it takes over from its parent.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/sampler_state.h"

#include <gmock/gmock.h>

#include "backends/cpu/slots.h"
#include "tenon/error.h"

namespace tenon::cpu {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const SamplingParams kAll{.repetition_penalty = 1.5F, .no_repeat_ngram_size = 2};

SlotUpdate start(std::int32_t slot, const SamplingParams& params, std::vector<std::int32_t> prompt,
                 std::vector<std::int32_t> blocks = {}) {
  SlotUpdate update{.slot = slot, .reset = true};
  update.tables = {{.blocks = std::move(blocks)}};
  update.sampling = params;
  update.history = std::move(prompt);
  return update;
}

SlotUpdate follow(std::int32_t slot, std::int32_t parent, std::int32_t token) {
  SlotUpdate update{.slot = slot};
  update.parent = parent;
  update.outputs = {token};
  return update;
}

class CpuSlots : public testing::Test {
 protected:
  const TokenHistory& history(std::int32_t slot) const { return slots_.at(slot).sampling.history; }
  void apply(const std::vector<SlotUpdate>& updates) { slots_.apply(updates); }

  std::vector<CacheGroupDescription> groups_ = {{.blocks = 100}};
  Slots slots_{4, groups_};
};

TEST_F(CpuSlots, KeepOnlyWhatParametersLookAt) {
  apply({start(0, {}, {1, 2}), start(1, {.frequency_penalty = 0.5F}, {1, 2}),
         start(2, {.bad_words = {{3}, {3, 4}}}, {1, 2}), start(3, {.bad_words = {{3}}}, {1, 2})});
  for (std::int32_t slot = 0; slot < 4; ++slot) {
    slots_.record(slot, 2);
    EXPECT_EQ(history(slot).prompt_tokens, 2);
    EXPECT_EQ(history(slot).output_tokens, 1);
    EXPECT_EQ(history(slot).use.size(), slot == 1 ? 2U : 0U) << slot;
    EXPECT_EQ(history(slot).order.size(), slot == 2 ? 3U : 0U) << slot;
    EXPECT_EQ(slots_.at(slot).last_token, 2);
  }
  EXPECT_EQ(history(1).use.at(2).outputs, 1);
  EXPECT_EQ(history(1).use.at(1).outputs, 0);
}

TEST_F(CpuSlots, PromptIsIgnoredAcrossItsPieces) {
  SamplingParams params = kAll;
  params.prompt_ignore_length = 3;
  apply({start(0, params, {1, 2})});
  SlotUpdate more{.slot = 0};
  more.history = {3, 4, 5};
  apply({more});
  EXPECT_EQ(history(0).use.size(), 2U);
  EXPECT_EQ(history(0).use.count(3), 0U);
  EXPECT_THAT(history(0).order, ElementsAre(1, 2, 3, 4, 5));
}

TEST_F(CpuSlots, BeamsForkFromOne) {
  apply({start(0, kAll, {1, 2}, {10, 11})});
  std::vector<SlotUpdate> updates;
  for (std::int32_t slot = 0; slot < 3; ++slot) {
    updates.push_back(follow(slot, 0, 20 + slot));
    if (slot > 0) updates.back().sampling = kAll;
    updates.back().reset = slot > 0;
    updates.back().tables = {{.begin = 1, .blocks = {30 + slot}}};
  }
  apply(updates);
  for (std::int32_t slot = 0; slot < 3; ++slot) {
    EXPECT_THAT(history(slot).order, ElementsAre(1, 2, 20 + slot));
    EXPECT_EQ(history(slot).use.size(), 3U);
    EXPECT_EQ(slots_.at(slot).last_token, 20 + slot);
    EXPECT_THAT(slots_.at(slot).tables.of(0), ElementsAre(10, 30 + slot));
  }
}

TEST_F(CpuSlots, ParentsAreReadBeforeAnyUpdate) {
  apply({start(0, kAll, {1}, {10}), start(1, kAll, {2}, {11}), start(2, kAll, {3}, {12})});
  apply({follow(0, 1, 20), follow(1, 0, 21), follow(2, 2, 22)});  // a swap, and one of itself
  EXPECT_THAT(history(0).order, ElementsAre(2, 20));
  EXPECT_THAT(history(1).order, ElementsAre(1, 21));
  EXPECT_THAT(history(2).order, ElementsAre(3, 22));
  EXPECT_THAT(slots_.at(0).tables.of(0), ElementsAre(11));
  EXPECT_THAT(slots_.at(1).tables.of(0), ElementsAre(10));
  apply({follow(0, 1, 30), follow(1, 2, 31), follow(2, 0, 32)});  // a ring
  EXPECT_THAT(history(0).order, ElementsAre(1, 21, 30));
  EXPECT_THAT(history(1).order, ElementsAre(3, 22, 31));
  EXPECT_THAT(history(2).order, ElementsAre(2, 20, 32));
  apply({start(0, kAll, {9}), follow(1, 0, 40)});  // the parent starts anew in the same batch
  EXPECT_THAT(history(0).order, ElementsAre(9));
  EXPECT_THAT(history(1).order, ElementsAre(1, 21, 30, 40));
  EXPECT_EQ(history(1).use.count(3), 0U);
}

TEST_F(CpuSlots, LastTokenComesFromTheParentWithoutOutputs) {
  apply({start(0, {}, {1}), start(1, {}, {1})});
  slots_.record(0, 8);
  slots_.record(1, 9);
  SlotUpdate update{.slot = 1};
  update.parent = 0;
  apply({update});
  EXPECT_EQ(slots_.at(1).last_token, 8);
  EXPECT_EQ(history(1).output_tokens, 1);
}

TEST_F(CpuSlots, ParametersStayTheSlotsOwn) {
  SamplingParams hot = kAll;
  hot.temperature = 2.F;
  apply({start(0, kAll, {1}), start(1, hot, {2})});
  apply({follow(1, 0, 5)});
  EXPECT_EQ(slots_.at(1).sampling.params.temperature, 2.F);
  EXPECT_THAT(history(1).order, ElementsAre(1, 5));
  apply({start(2, {}, {})});
  apply({follow(2, 0, 5)});  // needs less than its parent kept
  EXPECT_THAT(history(2).order, IsEmpty());
  EXPECT_EQ(history(2).output_tokens, 1);
}

TEST_F(CpuSlots, AnEvictedSequenceComesBackWithItsHistory) {
  SamplingParams params = kAll;
  params.top_p_reset_id = 6;
  apply({start(0, params, {1, 2})});
  for (const std::int32_t token : {5, 6, 5, 2, 9}) slots_.record(0, token);
  SlotUpdate back = start(1, params, {1, 2});
  back.outputs = {5, 6, 5, 2, 9};
  apply({back});
  EXPECT_EQ(slots_.at(1).last_token, 9);
  EXPECT_EQ(history(1).order, history(0).order);
  EXPECT_EQ(history(1).output_tokens, 5);
  EXPECT_EQ(history(1).since_reset, 3);
  EXPECT_EQ(history(0).since_reset, 3);
  for (const std::int32_t token : {1, 2, 5, 6, 9})
    EXPECT_EQ(history(1).use.at(token).outputs, history(0).use.at(token).outputs) << token;
  EXPECT_EQ(history(1).use.at(5).outputs, 2);
}

TEST_F(CpuSlots, WhatWasNotKeptIsNotMadeUp) {
  apply({start(0, {}, {1}), start(1, kAll, {1})});
  EXPECT_THROW(apply({follow(1, 0, 5)}), Error);
  SlotUpdate later{.slot = 0};
  later.sampling = kAll;
  EXPECT_THROW(apply({later}), Error);
}

TEST_F(CpuSlots, RefuseSlotsThatAreNotThere) {
  EXPECT_THROW(apply({follow(0, 4, 1)}), Error);
  EXPECT_THROW(apply({follow(0, -2, 1)}), Error);
  EXPECT_THROW(apply({follow(4, 0, 1)}), Error);
  EXPECT_THROW(slots_.apply(std::vector<SlotUpdate>{{.slot = -1}}), Error);
}

}  // namespace
}  // namespace tenon::cpu
