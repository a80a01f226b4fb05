// verify(Batch) finds what contradicts itself; StepSizes resolves symbols.
// SPDX-License-Identifier: Apache-2.0
#include "backends/batch.h"

#include <gtest/gtest.h>

#include <functional>

#include "backends/backend.h"
#include "tenon/error.h"

namespace tenon {
namespace {

Batch two_sequences() {
  Batch batch;
  batch.slots = {0, 3};
  batch.token_begin = {0, 1, 4};
  batch.cached_tokens = {7, 0};
  batch.sequence_length = {8, 3};
  batch.sample_row = {0, 1};
  batch.token_ids = {kLastSampledToken, 5, 6, 7};
  batch.positions = {7, 0, 1, 2};
  batch.logit_rows = {0, 3};
  return batch;
}

TEST(Batch, AcceptsWhatAgrees) {
  EXPECT_NO_THROW(verify(two_sequences()));
  Batch empty;
  empty.token_begin = {0};
  EXPECT_NO_THROW(verify(empty));
}

TEST(Batch, FindsContradictions) {
  const std::function<void(Batch&)> faults[] = {
      [](Batch& b) { b.token_begin = {0, 4}; },
      [](Batch& b) { b.token_begin = {0, 5, 4}; },
      [](Batch& b) { b.token_begin = {1, 1, 4}; },
      [](Batch& b) { b.token_begin = {0, 1, 3}; },
      [](Batch& b) { b.positions.pop_back(); },
      [](Batch& b) { b.positions[0] = -1; },
      [](Batch& b) { b.cached_tokens = {1}; },
      [](Batch& b) { b.cached_tokens[1] = -2; },
      [](Batch& b) { b.sequence_length = {}; },
      [](Batch& b) { b.sample_row = {0, 2}; },
      [](Batch& b) { b.sample_row[0] = -2; },
      [](Batch& b) { b.logit_rows[0] = 4; },
      [](Batch& b) { b.logit_rows[0] = -1; },
      [](Batch& b) { b.token_ids[1] = -2; },
      [](Batch& b) { b.slots[0] = -1; },
      [](Batch& b) { b.encoder_begin = {0, 2}; },
      [](Batch& b) { b.updates.push_back({.slot = -1}); },
      [](Batch& b) { b.updates.push_back({.tables = {{.group = -1}}}); },
  };
  for (const auto& fault : faults) {
    Batch batch = two_sequences();
    fault(batch);
    EXPECT_THROW(verify(batch), Error);
  }
}

TEST(StepSizes, ResolvesSymbols) {
  const StepSizes sizes{.tokens = 5, .sequences = 2, .logit_rows = 3, .encoder_tokens = 7};
  EXPECT_EQ(sizes.extent(Dim(Symbol::kTokens)), 5);
  EXPECT_EQ(sizes.extent(Dim(Symbol::kSequences)), 2);
  EXPECT_EQ(sizes.extent(Dim(Symbol::kLogitRows)), 3);
  EXPECT_EQ(sizes.extent(Dim(Symbol::kEncoderTokens)), 7);
  EXPECT_EQ(sizes.elements(ValueType::tensor(DataType::kFloat32, {Symbol::kTokens, 4})), 20);
  EXPECT_EQ(sizes.elements(ValueType::cache()), 0);
}

}  // namespace
}  // namespace tenon
