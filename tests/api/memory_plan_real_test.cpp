// What `tenon plan` says of the real model (SmolLM2-135M-Instruct) and what a run of it holds,
// after its load and after requests that filled batch and cache: within 3 % or 32 MiB, whichever is
// more. Needs the file: $TENON_REAL_MODEL, else where ./demo and ./check keep it.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "api/engine_cache.h"
#include "api/load_engine.h"
#include "api/memory_forecast.h"
#include "core/process_memory.h"
#include "tenon/llm.h"
#include "tenon/model.h"

namespace tenon::test {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMiB = std::int64_t{1} << 20;

fs::path real_model() {
  if (const char* given = std::getenv("TENON_REAL_MODEL")) return given;
  return cache_folder() / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf";
}

/// As a run keeps it in the cache folder: weights mapped from files.
class EngineOnDisk {
 public:
  EngineOnDisk() : path_(fs::temp_directory_path() / ("tenon-plan-" + std::to_string(::getpid()))) {
    build(PretrainedModel::from_pretrained(real_model().string()), {}).save(path_.string());
  }
  ~EngineOnDisk() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  EngineOnDisk(const EngineOnDisk&) = delete;
  EngineOnDisk& operator=(const EngineOnDisk&) = delete;

  std::string path() const { return path_.string(); }

 private:
  fs::path path_;
};

MemoryForecast forecast(const std::string& path, const LlmOptions& options) {
  std::optional<MemoryForecast> found;
  load_engine(path, options.use_cache_folder, [&](const std::shared_ptr<Engine::Impl>& engine) {
    found = forecast_memory(*engine, {.run = options});
  });
  give_back_free_memory();
  return *found;
}

/// One prompt for each place of the batch, no two alike, each with `answer` tokens to its end.
std::vector<std::vector<std::int32_t>> prompts(const SessionOptions& limits, std::int64_t answer) {
  std::vector<std::vector<std::int32_t>> all(static_cast<std::size_t>(limits.max_sequences));
  for (std::size_t i = 0; i < all.size(); ++i)
    for (std::int64_t t = 0; t < limits.max_sequence_length - answer; ++t)
      all[i].push_back(
          static_cast<std::int32_t>((7919 * t + 104729 * static_cast<int>(i)) % 49000));
  return all;
}

/// Every place of the batch and every block of the cache is used.
void expect_the_plan_holds(LlmOptions options) {
  if (!fs::exists(real_model()))
    GTEST_SKIP() << "THE REAL MODEL IS MISSING (" << real_model() << "): run ./check or ./demo, "
                 << "or set TENON_REAL_MODEL";
  constexpr std::int64_t kAnswer = 8;
  options.device = "cpu";
  options.use_cache_folder = false;
  const EngineOnDisk engine;
  const MemoryForecast plan = forecast(engine.path(), options);
  const std::int64_t tolerance = std::max(plan.plan.bytes * 3 / 100, 32 * kMiB);
  ASSERT_TRUE(plan.fits());
  ASSERT_GT(plan.plan.bytes, 2 * tolerance) << "too small to tell anything";

  LLM llm(engine.path(), options);
  const std::int64_t loaded = anonymous_memory();
  llm.generate_ids(prompts(plan.limits, kAnswer),
                   {.temperature = 0, .max_tokens = kAnswer, .ignore_eos = true});
  const std::int64_t used = anonymous_memory();
  const KvCacheStatistics cache = llm.statistics().kv_cache;
  // Blocks with a sequence's last token, which no step computed, cannot be found again.
  EXPECT_GE(cache.reusable_blocks, cache.total_blocks * 2 / 3) << "the cache was not filled";
  std::printf("planned %.1f MiB, after the load %.1f, after filling it %.1f\n",
              static_cast<double>(plan.plan.bytes) / kMiB, static_cast<double>(loaded) / kMiB,
              static_cast<double>(used) / kMiB);
  EXPECT_LE(loaded, plan.plan.bytes + tolerance) << llm.memory_plan();
  EXPECT_NEAR(static_cast<double>(used), static_cast<double>(plan.plan.bytes),
              static_cast<double>(tolerance))
      << llm.memory_plan();
}

TEST(RealModelMemory, OfASmallCache) {
  LlmOptions options;
  options.max_batch_size = 1;
  options.max_num_tokens = 128;
  options.max_seq_len = 512;
  expect_the_plan_holds(options);
}

TEST(RealModelMemory, OfALargeBatch) {
  LlmOptions options;
  options.max_batch_size = 64;
  options.max_seq_len = 128;
  expect_the_plan_holds(options);
}

TEST(RealModelMemory, OfALargeStep) {
  LlmOptions options;
  options.max_batch_size = 8;
  options.max_num_tokens = 4096;
  options.max_seq_len = 512;
  expect_the_plan_holds(options);
}

TEST(RealModelMemory, OfACacheOf16Bits) {
  LlmOptions options;
  options.max_batch_size = 8;
  options.max_seq_len = 512;
  options.kv_cache_dtype = "bfloat16";
  expect_the_plan_holds(options);
}

TEST(RealModelMemory, OfThreeRanks) {
  LlmOptions options;
  options.mapping = {.world_size = 3, .tp_size = 3};
  options.max_batch_size = 8;
  options.max_seq_len = 256;
  expect_the_plan_holds(options);
}

}  // namespace
}  // namespace tenon::test
