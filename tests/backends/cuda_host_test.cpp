// The host's parts of the CUDA backend: they need no GPU.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backends/cpu/philox.h"
#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/device/philox.h"
#include "backends/cuda/load_context.h"
#include "backends/cuda/recorded_step.h"
#include "backends/cuda/slot_tables.h"
#include "backends/cuda/storage.h"
#include "core/check.h"

namespace tenon::cuda {
namespace {

TEST(CudaHost, DrawsTheNumbersOfTheCpu) {
  for (std::uint64_t i = 0; i < 1000; ++i) {
    const std::uint64_t seed = i * 0x9E3779B97F4A7C15U;
    const auto sample = static_cast<std::uint32_t>(i % 7);
    EXPECT_EQ(uniform(seed, sample, i * i), cpu::uniform(seed, sample, i * i));
  }
}

TEST(CudaHost, DeviceListSaysWhyItIsEmpty) {
  const DeviceList list = devices();
  EXPECT_EQ(list.names.empty(), !list.why.empty()) << list.why;
  if (list.names.empty()) {
    EXPECT_THROW(make_backend({}), Error);
  }
}

TEST(CudaHost, BucketsHoldTheirSequences) {
  for (std::int64_t limit : {1, 3, 8, 100, 300})
    for (std::int64_t sequences = 1; sequences <= limit; ++sequences) {
      const std::int64_t bucket = decode_bucket(sequences, limit);
      EXPECT_GE(bucket, sequences);
      EXPECT_LE(bucket, limit);
      EXPECT_LE(bucket, sequences + std::max<std::int64_t>(7, sequences / 4));
      EXPECT_EQ(decode_bucket(bucket, limit), bucket);
    }
}

TEST(CudaHost, EachKeyIsPlannedOnce) {
  const std::vector<PackedNeed> needs = {{"a", 1}, {"b", 300}, {"a", 1}};
  EXPECT_EQ(planned_bytes(needs), 256 + 512);
}

const CacheGroupDescription kGroup{
    .layers = {0}, .kv_heads = 1, .head_dim = 8, .tokens_per_block = 4, .blocks = 10};

Batch one_token(std::int32_t slot, std::int32_t cached, std::int32_t id) {
  Batch batch;
  batch.slots = {slot};
  batch.token_begin = {0, 1};
  batch.cached_tokens = {cached};
  batch.sequence_length = {cached + 1};
  batch.sample_row = {0};
  batch.token_ids = {id};
  batch.positions = {cached};
  batch.logit_rows = {0};
  return batch;
}

TEST(CudaHost, TablesFollowUpdatesAndParents) {
  SlotTables tables(3, {&kGroup, 1}, 4);
  SlotUpdate first{.slot = 0, .reset = true};
  first.tables = {{.group = 0, .begin = 0, .blocks = {7, 3}}};
  first.outputs = {5};
  EXPECT_EQ(tables.apply({{first}}).size(), 1U);
  tables.check(one_token(0, 7, kLastSampledToken));
  EXPECT_THROW(tables.check(one_token(0, 8, 1)), Error);
  EXPECT_THROW(tables.check(one_token(1, 0, 1)), Error);

  // Two slots change places: both read what was there before.
  SlotUpdate second{.slot = 1, .reset = true};
  second.tables = {{.group = 0, .begin = 0, .blocks = {1}}};
  tables.apply({{second}});
  SlotUpdate to_zero{.slot = 0, .reset = true, .parent = 1};
  SlotUpdate to_one{.slot = 1, .reset = true, .parent = 0};
  const std::vector<SlotUpdate> swap = {to_zero, to_one};
  const auto changes = tables.apply(swap);
  ASSERT_EQ(changes.size(), 2U);
  EXPECT_THAT(changes[0].blocks, testing::ElementsAre(1));
  EXPECT_THAT(changes[1].blocks, testing::ElementsAre(7, 3));
  EXPECT_THROW(tables.check(one_token(0, 0, kLastSampledToken)), Error);
  tables.check(one_token(1, 0, kLastSampledToken));
}

// A step that was refused leaves its changes to the next, and the device makes all at once.
TEST(CudaHost, ChangesOfOneTableAreSentAsOne) {
  SlotTables tables(3, {&kGroup, 1}, 4);
  std::vector<TableChange> unsent;
  const auto apply = [&](std::int32_t slot, bool reset, std::int32_t begin,
                         std::vector<std::int32_t> blocks) {
    SlotUpdate update{.slot = slot, .reset = reset};
    update.tables = {{.group = 0, .begin = begin, .blocks = std::move(blocks)}};
    for (TableChange& change : tables.apply({&update, 1})) unsent.push_back(std::move(change));
    tables.merge(unsent);
  };
  apply(1, true, 0, {7, 3});
  apply(0, true, 0, {2});
  ASSERT_EQ(unsent.size(), 2U);
  apply(1, false, 2, {4, 5});  // behind it
  apply(0, true, 0, {6});      // in its place
  ASSERT_EQ(unsent.size(), 2U);
  EXPECT_EQ(unsent[0].slot, 0);
  EXPECT_THAT(unsent[0].blocks, testing::ElementsAre(6));
  EXPECT_EQ(unsent[1].begin, 0);
  EXPECT_THAT(unsent[1].blocks, testing::ElementsAre(7, 3, 4, 5));
  apply(1, true, 0, {9});  // shorter than what was to be sent
  EXPECT_THAT(unsent[1].blocks, testing::ElementsAre(9));
  apply(1, false, 1, {8});
  unsent.clear();
  apply(1, false, 1, {0});
  EXPECT_EQ(unsent[0].begin, 1);
  EXPECT_THAT(unsent[0].blocks, testing::ElementsAre(0));
}

TEST(CudaHost, TablesRefuseWhatIsNotThere) {
  SlotTables tables(1, {&kGroup, 1}, 4);
  SlotUpdate update{.slot = 1};
  EXPECT_THROW(tables.apply({{update}}), Error);
  update = {.slot = 0};
  update.tables = {{.group = 0, .begin = 0, .blocks = {10}}};
  EXPECT_THROW(tables.apply({{update}}), Error);
  update.tables = {{.group = 0, .begin = 1, .blocks = {1}}};
  EXPECT_THROW(tables.apply({{update}}), Error);
  update.tables = {{.group = 0, .begin = 0, .blocks = {1, 1, 1, 1, 1}}};
  EXPECT_THROW(tables.apply({{update}}), Error);
}

// x → linear → a; a, x → add → b (an output).
ProgramDescription small_program(DataType weight, DataType activation) {
  ProgramDescription program;
  const ValueType rows = ValueType::tensor(DataType::kFloat32, {Symbol::kTokens, 8});
  program.values = {{"x", rows, 0}, {"normed", rows, 0}, {"a", rows, 0}, {"b", rows, 0}};
  program.weights = {{"gain", {8}, {}}, {"w", {8, 8}, QuantSpec::floating(weight)}};
  program.nodes = {{Norm{}, {0}, {1}, {0}}, {Linear{}, {1}, {2}, {1}}, {Add{}, {0, 2}, {3}, {}}};
  program.outputs = {3};
  program.policy.activation = activation;
  return program;
}

TEST(CudaHost, OnlyWhatLinearsReadIsStoredInSixteenBits) {
  using testing::ElementsAre;
  const auto f32 = DataType::kFloat32;
  const auto bf16 = DataType::kBFloat16;
  EXPECT_THAT(storage_types(small_program(bf16, f32)), ElementsAre(f32, f32, f32, f32));
  EXPECT_THAT(storage_types(small_program(bf16, bf16)), ElementsAre(f32, bf16, f32, f32));
  EXPECT_THAT(storage_types(small_program(DataType::kFloat16, bf16)),
              ElementsAre(f32, DataType::kFloat16, f32, f32));
  EXPECT_THAT(storage_types(small_program(f32, bf16)), ElementsAre(f32, f32, f32, f32));
  ProgramDescription tapped = small_program(bf16, bf16);
  tapped.outputs.push_back(1);
  // Being readable changes nothing: hidden_states, which the head reads, once fell to the plain
  // kernel.
  EXPECT_THAT(storage_types(tapped), ElementsAre(f32, bf16, f32, f32));
}

}  // namespace
}  // namespace tenon::cuda
