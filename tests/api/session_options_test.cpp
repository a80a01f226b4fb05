// What a run may choose: out of range is refused by the field's name, whoever calls.
// SPDX-License-Identifier: Apache-2.0
#include "api/session_options.h"

#include <gmock/gmock.h>

#include <cmath>
#include <functional>
#include <limits>

#include "tenon/error.h"

namespace tenon::test {
namespace {

using ::testing::HasSubstr;

TEST(SessionOptions, FieldsOutOfRangeAreRefusedByName) {
  using Change = std::function<void(LlmOptions&)>;
  const std::vector<std::pair<const char*, Change>> wrong = {
      {"threads", [](LlmOptions& o) { o.threads = -4; }},
      {"threads", [](LlmOptions& o) { o.threads = kMaxThreads + 1; }},
      {"max_context_chunk", [](LlmOptions& o) { o.executor.max_context_chunk = -1; }},
      {"max_queue_size", [](LlmOptions& o) { o.executor.max_queue_size = 0; }},
      {"scheduler_policy: 9",
       [](LlmOptions& o) { o.executor.scheduler_policy = static_cast<SchedulerPolicy>(9); }},
      {"context_chunking: 2",
       [](LlmOptions& o) { o.executor.context_chunking = static_cast<ContextChunking>(2); }},
      {"max_queue_tokens", [](LlmOptions& o) { o.executor.max_queue_tokens = -1; }},
      {"max_beam_width", [](LlmOptions& o) { o.executor.max_beam_width = -1; }},
      {"iter_stats_max_iterations",
       [](LlmOptions& o) { o.executor.iter_stats_max_iterations = -1; }},
      {"event_buffer_size", [](LlmOptions& o) { o.executor.kv_cache.event_buffer_size = -1; }},
      {"tactics", [](LlmOptions& o) { o.tactics = "fast"; }},
      {"queue_seconds", [](LlmOptions& o) { o.executor.queue_seconds = 0.0; }},
      {"total_seconds", [](LlmOptions& o) { o.executor.total_seconds = std::nan(""); }}};
  for (const auto& [field, change] : wrong) {
    LlmOptions options;
    options.device = "cpu";
    EXPECT_NO_THROW(session_options(options, BuildConfig{}, {}));
    change(options);
    try {
      session_options(options, BuildConfig{}, {});
      ADD_FAILURE() << field << ": no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      EXPECT_THAT(error.what(), HasSubstr(field));
    }
  }
}

TEST(SessionOptions, TacticsAreKeptInTheCacheFolderWhereThatIsUsed) {
  LlmOptions options;
  options.device = "cpu";
  EXPECT_EQ(session_options(options, {}, {}).tactics.mode, TacticMode::kAuto);
  EXPECT_EQ(session_options(options, {}, {}).tactics.folders.size(), 1U);
  options.tactics = "refresh";
  options.use_cache_folder = false;
  EXPECT_EQ(session_options(options, {}, {}).tactics.mode, TacticMode::kRefresh);
  EXPECT_TRUE(session_options(options, {}, {}).tactics.folders.empty());
  options.tactics = "off";
  EXPECT_EQ(session_options(options, {}, {}).tactics.mode, TacticMode::kOff);
}

TEST(SessionOptions, TheRunsChoiceWinsOverTheEngines) {
  LlmOptions options;
  options.device = "cpu";
  BuildConfig build;
  build.max_batch_size = 4;
  build.max_seq_len = 100;
  EXPECT_EQ(session_options(options, build, {}).max_sequences, 4);
  EXPECT_EQ(session_options(options, build, {}).max_sequence_length, 100);
  options.max_batch_size = 9;
  options.max_seq_len = 1000;
  options.executor.kv_cache.max_tokens = 640;
  EXPECT_EQ(session_options(options, build, {}).max_sequences, 9);
  EXPECT_EQ(session_options(options, build, {}).max_sequence_length, 1000);
  EXPECT_EQ(session_options(options, build, {}).kv_cache.max_tokens, 640);
}

/// Limits that somebody built an engine for are its runs' limits; those that every engine has where
/// nobody did would take most of a machine.
TEST(SessionOptions, LimitsThatWereBuiltForAreTheRuns) {
  LlmOptions options;
  options.device = "cpu";
  EngineTraits traits;
  traits.max_position = 131072;
  BuildConfig build;
  build.max_seq_len = traits.max_position;  // as a build without limits settles it
  SessionOptions session = session_options(options, build, traits);
  EXPECT_EQ(session.max_sequences, 16);
  EXPECT_EQ(session.max_step_tokens, 512);
  EXPECT_EQ(session.max_sequence_length, 4096);
  build.max_seq_len = 16384;
  build.max_batch_size = 64;
  build.max_num_tokens = 4096;
  session = session_options(options, build, traits);
  EXPECT_EQ(session.max_sequences, 64);
  EXPECT_EQ(session.max_step_tokens, 4096);
  EXPECT_EQ(session.max_sequence_length, 16384);
  build.opt_num_tokens = 1024;
  EXPECT_EQ(session_options(options, build, traits).max_step_tokens, 1024);
}

}  // namespace
}  // namespace tenon::test
