// Flags of the executor: what each sets, that wrong ones are refused by name, and that they reach
// the executor of a run.
// SPDX-License-Identifier: Apache-2.0
#include "cli/executor_flags.h"

#include "program.h"

namespace tenon::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

ExecutorConfig parse(const std::vector<std::string>& words) {
  cli::CommandLine line("test", "test");
  cli::ExecutorFlags flags;
  flags.add(line);
  EXPECT_TRUE(line.parse(words));
  return flags.config();
}

std::string error_of(const std::vector<std::string>& words) {
  try {
    parse(words);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.what();
  }
  return "no error";
}

TEST(ExecutorFlags, EachSetsItsField) {
  const ExecutorConfig config = parse({"--scheduler_policy",        "max_utilization",
                                       "--context_chunking_policy", "equal_progress",
                                       "--max_context_chunk",       "64",
                                       "--max_queue_size",          "7",
                                       "--max_queue_tokens",        "900",
                                       "--queue_seconds",           "1.5",
                                       "--total_seconds",           "20",
                                       "--max_beam_width",          "4",
                                       "--tokens_per_block",        "16",
                                       "--no_enable_block_reuse",   "--no-enable_partial_reuse",
                                       "--host_cache_size",         "4096",
                                       "--disk_cache_size",         "8192",
                                       "--disk_cache_directory",    "d"});
  EXPECT_EQ(config.scheduler_policy, SchedulerPolicy::kMaxUtilization);
  EXPECT_EQ(config.context_chunking, ContextChunking::kEqualProgress);
  EXPECT_EQ(config.max_context_chunk, 64);
  EXPECT_EQ(config.max_queue_size, 7);
  EXPECT_EQ(config.max_queue_tokens, 900);
  EXPECT_EQ(config.queue_seconds, 1.5);
  EXPECT_EQ(config.total_seconds, 20.0);
  EXPECT_EQ(config.max_beam_width, 4);
  EXPECT_EQ(config.kv_cache.tokens_per_block, 16);
  EXPECT_FALSE(config.kv_cache.enable_block_reuse);
  EXPECT_FALSE(config.kv_cache.enable_partial_reuse);
  EXPECT_EQ(config.kv_cache.host_cache_bytes, 4096);
  EXPECT_EQ(config.kv_cache.disk_cache_bytes, 8192);
  EXPECT_EQ(config.kv_cache.disk_cache_directory, "d");
}

TEST(ExecutorFlags, NoneLeaveTheDefaults) {
  const ExecutorConfig config = parse({});
  const ExecutorConfig defaults;
  EXPECT_EQ(config.scheduler_policy, defaults.scheduler_policy);
  EXPECT_EQ(config.context_chunking, defaults.context_chunking);
  EXPECT_EQ(config.max_queue_size, defaults.max_queue_size);
  EXPECT_EQ(config.max_beam_width, 0);
  EXPECT_TRUE(config.kv_cache.enable_block_reuse);
  EXPECT_TRUE(config.kv_cache.enable_partial_reuse);
  EXPECT_FALSE(config.kv_cache.max_tokens || config.kv_cache.max_bytes ||
               config.kv_cache.free_memory_fraction);
}

TEST(ExecutorFlags, EverySpellingMeansTheSame) {
  for (const char* flag : {"--kv_cache_free_gpu_mem_fraction", "--free_memory_fraction",
                           "--kv-cache-free-gpu-memory-fraction"})
    EXPECT_EQ(parse({flag, "0.25"}).kv_cache.free_memory_fraction, 0.25) << flag;
  for (const char* flag : {"--max_tokens_in_paged_kv_cache", "--max_tokens_in_paged_kvcache"})
    EXPECT_EQ(parse({flag, "96"}).kv_cache.max_tokens, 96) << flag;
  for (const char* flag : {"--host_cache_size", "--kv_host_cache_bytes"})
    EXPECT_EQ(parse({flag, "96"}).kv_cache.host_cache_bytes, 96) << flag;
  EXPECT_EQ(parse({"--kv_cache_bytes", "96"}).kv_cache.max_bytes, 96);
  EXPECT_FALSE(parse({"--no-kv_cache_enable_block_reuse"}).kv_cache.enable_block_reuse);
  EXPECT_TRUE(parse({"--kv_cache_enable_block_reuse"}).kv_cache.enable_block_reuse);
  EXPECT_EQ(parse({"--enable_chunked_context"}).max_context_chunk, 0);  // it always is
  EXPECT_EQ(parse({"--scheduler_policy", "static_batch"}).scheduler_policy,
            SchedulerPolicy::kStaticBatch);
}

TEST(ExecutorFlags, WrongOnesAreRefusedByName) {
  const std::vector<std::pair<std::string, std::vector<std::string>>> wrong = {
      {"--scheduler_policy", {"evict", ""}},
      {"--context_chunking_policy", {"fair"}},
      {"--max_context_chunk", {"-1", "x"}},
      {"--max_queue_size", {"0", "-4"}},
      {"--max_queue_tokens", {"-1"}},
      {"--queue_seconds", {"0", "-1", "nan", "inf"}},
      {"--total_seconds", {"0", "nan"}},
      {"--max_beam_width", {"0", "257", "-1"}},
      {"--max_tokens_in_paged_kv_cache", {"0", "-4"}},
      {"--kv_cache_bytes", {"0", "-4", "1GiB"}},
      {"--kv_cache_free_gpu_mem_fraction", {"0", "1.5", "-0.1", "nan"}},
      {"--tokens_per_block", {"0", "17", "-32"}},
      {"--host_cache_size", {"-1"}},
      {"--disk_cache_size", {"-1", "4096"}},
      {"--disk_cache_directory", {"somewhere"}}};
  for (const auto& [flag, values] : wrong)
    for (const std::string& value : values)
      EXPECT_THAT(error_of({flag, value}), HasSubstr(flag)) << value;
  EXPECT_THAT(error_of({"--scheduler_policy", "evict"}),
              HasSubstr("guaranteed_no_evict, max_utilization, static_batch"));
  EXPECT_THAT(error_of({"--kv_cache_bytes", "4096", "--max_tokens_in_paged_kv_cache", "64"}),
              HasSubstr("give one of them"));
  EXPECT_THAT(error_of({"--no_enable_block_reus"}),
              HasSubstr("did you mean \"--no_enable_block_reuse\"?"));
}

class ExecutorFlagsOfARun : public CliTest {
 protected:
  std::vector<std::string> words(const std::vector<std::string>& more) const {
    std::vector<std::string> all = {"run",       engine_, "--input_text", "Hello there",
                                    "--threads", "1",     "--no_pin",     "--max_output_len",
                                    "6",         "--json"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  std::string tokens(const std::vector<std::string>& more) const {
    std::string text;
    const Json json = json_of(words(more));
    for (const Json& output : json.at("outputs", "").as_array(""))
      text += output.at("token_ids", "").dump();
    return text;
  }

  std::string engine_ = build_engine();
};

TEST_F(ExecutorFlagsOfARun, ChangeNoToken) {
  const std::string expected = tokens({});
  for (const std::vector<std::string>& more : std::vector<std::vector<std::string>>{
           {"--scheduler_policy", "max_utilization", "--context_chunking_policy", "equal_progress"},
           {"--scheduler_policy", "static_batch", "--max_context_chunk", "2"},
           {"--no_enable_block_reuse", "--tokens_per_block", "16"},
           {"--kv_cache_bytes", "100000"},
           {"--kv_cache_free_gpu_mem_fraction", "0.001"},
           {"--host_cache_size", "100000", "--disk_cache_size", "100000", "--disk_cache_directory",
            folder_.string()}})
    EXPECT_EQ(tokens(more), expected) << ::testing::PrintToString(more);
}

TEST_F(ExecutorFlagsOfARun, ReachTheExecutor) {
  // Prompts of one run take turns in a queue; one that no queue of that size takes is refused.
  Result result = run(words({"--input_text", "more", "--max_queue_size", "1"}));
  EXPECT_EQ(result.code, 0) << result.err;
  result = run(words({"--max_queue_tokens", "1"}));
  EXPECT_EQ(result.code, 7);
  EXPECT_THAT(result.err, HasSubstr("limit 1"));
  result = run(words({"--kv_cache_bytes", "10"}));
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr("one block of 32 tokens"));
  result = run(words({"--total_seconds", "1e-9"}));
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("\"timed_out\""));
}

TEST_F(ExecutorFlagsOfARun, TheEnginesBeamWidthBoundsARunUnlessTheRunSetsItsOwn) {
  out_of(
      {"build", "--model_dir", text_model(), "--output_dir", at("beams"), "--max_beam_width", "2"});
  EXPECT_THAT(out_of({"inspect", at("beams")}), HasSubstr("max_beam_width"));
  engine_ = at("beams");
  const std::string two = tokens({"--num_beams", "2"});
  const Result result = run(words({"--num_beams", "3"}));
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, AllOf(HasSubstr("--num_beams: 3 beams"), HasSubstr("max_beam_width")));
  EXPECT_NE(tokens({"--num_beams", "3", "--max_beam_width", "3"}), "");
  EXPECT_EQ(run(words({"--num_beams", "2", "--max_beam_width", "1"})).code, 2);
  for (const char* wrong : {"0", "257", "-1"}) {
    const Result refused = run({"build", "--model_dir", text_model(), "--output_dir", at("wrong"),
                                "--max_beam_width", wrong});
    EXPECT_EQ(refused.code, 2);
    EXPECT_THAT(refused.err, HasSubstr("max_beam_width"));
    EXPECT_FALSE(fs::exists(at("wrong")));
  }
}

}  // namespace
}  // namespace tenon::test
