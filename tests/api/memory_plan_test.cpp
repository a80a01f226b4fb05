// The plan is the truth about memory: what is resident after a load, and after steps that fill the
// batch and the cache, is what the plan said before.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <filesystem>

#include "../core/sanitizer.h"
#include "api/engine_impl.h"
#include "api/memory_forecast.h"
#include "core/process_memory.h"
#include "session_support.h"
#include "tenon/engine.h"
#include "tenon/error.h"

namespace tenon::test {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMiB = std::int64_t{1} << 20;

/// All of these measure the process, which a sanitizer makes meaningless.
class MemoryPlan : public ::testing::Test {
 protected:
  void SetUp() override {
    if (kSanitized) GTEST_SKIP() << "the sanitizer's own memory is in no plan";
  }
};
using MemoryForecasts = MemoryPlan;

/// An engine directory whose weights are mapped, as a user's are.
class EngineOnDisk {
 public:
  explicit EngineOnDisk(const PretrainedConfig& config)
      : path_(fs::temp_directory_path() / ("tenon-memory-plan-" + std::to_string(::getpid()) + "-" +
                                           std::to_string(++count_))) {
    build(PretrainedModel::from_config(config), BuildConfig{}).save(path_.string());
    give_back_free_memory();
  }
  ~EngineOnDisk() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  EngineOnDisk(const EngineOnDisk&) = delete;
  EngineOnDisk& operator=(const EngineOnDisk&) = delete;

  std::shared_ptr<Engine::Impl> open() const { return open_engine_impl(path_); }

 private:
  static inline int count_ = 0;
  fs::path path_;
};

/// Fills every block of the cache in steps of the largest batch.
void fill(Session& session) {
  const SessionOptions& limits = session.options();
  const auto sequences = static_cast<std::int32_t>(limits.max_sequences);
  const auto length = static_cast<std::int32_t>(limits.max_sequence_length);
  const auto share = static_cast<std::int32_t>(limits.max_step_tokens) / sequences;
  const auto blocks = length / static_cast<std::int32_t>(limits.tokens_per_block);
  for (std::int32_t done = 0; done < length; done += share) {
    std::vector<Rows> rows;
    std::vector<SlotUpdate> starts;
    for (std::int32_t s = 0; s < sequences; ++s) {
      if (done == 0) starts.push_back(start_slot(session, s, blocks_from(s * blocks, blocks)));
      rows.push_back({s, done, std::vector<std::int32_t>(static_cast<std::size_t>(share), s + 3)});
    }
    Batch batch = batch_of(rows, starts);
    if (limits.all_logits) {
      batch.logit_rows.resize(batch.token_ids.size());
      std::iota(batch.logit_rows.begin(), batch.logit_rows.end(), 0);
      for (std::size_t s = 0; s < rows.size(); ++s)
        batch.sample_row[s] = batch.token_begin[s + 1] - 1;
    }
    issue(session, batch)->wait();
  }
}

void expect_plan_holds(const PretrainedConfig& config, const SessionOptions& options) {
  const EngineOnDisk disk(config);
  const auto engine = disk.open();
  const SessionPlan plan = Session::plan(engine->graphs, engine->source.weights, options);
  const auto session = Session::load(engine->graphs, engine->source.weights, options);
  const std::int64_t tolerance = std::max(plan.bytes * 3 / 100, 32 * kMiB);
  const std::int64_t loaded = anonymous_memory();
  fill(*session);
  const std::int64_t used = anonymous_memory();
  EXPECT_LE(loaded, plan.bytes + tolerance) << session->ledger().print();
  EXPECT_LE(used, plan.bytes + tolerance) << session->ledger().print();
  EXPECT_GE(used, plan.bytes - tolerance) << session->ledger().print();
  EXPECT_NEAR(static_cast<double>(session->ledger().planned()), static_cast<double>(plan.bytes),
              static_cast<double>(4 * kMiB))
      << "a load plans what plan() says";
  EXPECT_GT(plan.bytes, 2 * tolerance) << "too small to tell anything";
}

SessionOptions full_batch() {
  SessionOptions options = small_options();
  options.max_sequence_length = 128;
  options.max_step_tokens = 256;
  return options;
}

TEST_F(MemoryPlan, HoldsForWeights) {
  expect_plan_holds(random_config(512, 8, 16000), full_batch());
}

TEST_F(MemoryPlan, HoldsForLogitsOfEveryToken) {
  PretrainedConfig config = random_config(256, 2, 64000);
  config.dtype = DataType::kBFloat16;
  SessionOptions options = full_batch();
  options.all_logits = true;
  expect_plan_holds(config, options);
}

TEST_F(MemoryPlan, HoldsForTwoRanks) {
  SessionOptions options = full_batch();
  options.mapping = {.world_size = 2, .tp_size = 2};
  expect_plan_holds(random_config(512, 8, 16000), options);
}

TEST_F(MemoryPlan, ALoadObeysTheLimitAndShowsTheWholePlan) {
  const ModelSource source = random_model_source(random_config(), 7);
  const ModelGraphs graphs = build_graphs(source, BuildConfig{});
  SessionOptions options = small_options();
  give_back_free_memory();  // what tests before this one left would count as held
  const SessionPlan plan = Session::plan(graphs, source.weights, options);
  options.memory_limit = plan.bytes + kMiB;
  EXPECT_NO_THROW(Session::load(graphs, source.weights, options));
  options.memory_limit = plan.bytes / 2;
  options.kv_cache.max_tokens = options.max_sequences * options.max_sequence_length;
  try {
    Session::load(graphs, source.weights, options);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kResourceExhausted);
    EXPECT_NE(std::string(error.what()).find("sampler"), std::string::npos) << error.what();
  }
}

TEST_F(MemoryForecasts, ALoadThatDoesNotFitSaysWhatWould) {
  Engine::Impl engine;
  engine.source = random_model_source(random_config(), 7);
  engine.graphs = build_graphs(engine.source, BuildConfig{});
  SessionOptions options = small_options();
  options.memory_limit = anonymous_memory() + 16 * kMiB;
  options.max_sequences = 4096;
  options.max_step_tokens = 4096;
  options.kv_cache.max_tokens = 4096 * options.max_sequence_length;
  const FittingSizes sizes = sizes_that_fit(engine, options);
  ASSERT_GT(sizes.largest_batch, 0);
  ASSERT_LT(sizes.largest_batch, 4096);
  try {
    load_session(engine, options);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kResourceExhausted);
    EXPECT_THAT(error.what(), ::testing::HasSubstr("packed weights"));
    EXPECT_THAT(error.what(), ::testing::HasSubstr("What fits: "));
  }
  options.memory_limit = 1;
  try {
    load_session(engine, options);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("No batch of sequences"));
  }
}

TEST_F(MemoryForecasts, WhatItSaysFitsAndOneMoreDoesNot) {
  Engine::Impl engine;
  engine.source = random_model_source(random_config(), 7);
  engine.graphs = build_graphs(engine.source, BuildConfig{});
  ForecastOptions options;
  options.run.device = "cpu";  // whatever the machine has: the limit counts this process's memory
  options.run.threads = 1;
  options.run.max_batch_size = 4;
  options.run.max_seq_len = 256;
  options.run.memory_limit = anonymous_memory() + 24 * kMiB;
  const MemoryForecast forecast = forecast_memory(engine, options);
  EXPECT_TRUE(forecast.fits());
  ASSERT_GT(forecast.largest_batch, 4);
  ASSERT_GT(forecast.longest_length, 256);
  const auto fits = [&](std::int64_t batch, std::int64_t length) {
    SessionOptions limits = forecast.limits;
    limits.max_sequences = batch;
    limits.max_step_tokens = std::max(limits.max_step_tokens, batch);
    limits.max_sequence_length = length;
    limits.kv_cache.max_tokens = batch * ((length + 31) / 32 * 32);
    const SessionPlan plan = Session::plan(engine.graphs, engine.source.weights, limits);
    return plan.bytes <= plan.limit;
  };
  // What the process holds moves a little between two plans.
  EXPECT_TRUE(fits(forecast.largest_batch * 9 / 10, 256));
  EXPECT_FALSE(fits(forecast.largest_batch * 11 / 10 + 1, 256));
  EXPECT_TRUE(fits(4, forecast.longest_length * 9 / 10));
  if (forecast.longest_length < 4096) {
    EXPECT_FALSE(fits(4, forecast.longest_length * 11 / 10 + 64));
  }

  options.run.memory_limit.reset();
  options.device_memory = 1;
  const MemoryForecast none = forecast_memory(engine, options);
  EXPECT_FALSE(none.fits());
  EXPECT_EQ(none.largest_batch, 0);
  EXPECT_EQ(none.longest_length, 0);
}

}  // namespace
}  // namespace tenon::test
