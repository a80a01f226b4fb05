// SPDX-License-Identifier: Apache-2.0
#include "cli/executor_flags.h"

#include <array>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <span>
#include <utility>

#include "core/check.h"

namespace tenon::cli {
namespace {

template <class Value>
using Names = std::span<const std::pair<const char*, Value>>;

constexpr std::array kPolicies = {
    std::pair{"guaranteed_no_evict", SchedulerPolicy::kGuaranteedNoEvict},
    std::pair{"max_utilization", SchedulerPolicy::kMaxUtilization},
    std::pair{"static_batch", SchedulerPolicy::kStaticBatch}};
constexpr std::array kChunkings = {
    std::pair{"first_come_first_served", ContextChunking::kFirstComeFirstServed},
    std::pair{"equal_progress", ContextChunking::kEqualProgress}};

template <class Value>
Value value_of(const char* flag, const std::string& name, Names<Value> names) {
  std::string known;
  for (const auto& [one, value] : names) {
    if (name == one) return value;
    known += std::string(known.empty() ? "" : ", ") + one;
  }
  fail(ErrorCode::kInvalidArgument, "{}: \"{}\" is none of {}", flag, name, known);
}

void check_least(const char* flag, std::optional<std::int64_t> value, std::int64_t least) {
  TENON_CHECK(!value || *value >= least, ErrorCode::kInvalidArgument,
              "{}: {} is out of range, expected {} or more", flag, value.value_or(0), least);
}

void check_seconds(const char* flag, std::optional<double> seconds) {
  TENON_CHECK(!seconds || (std::isfinite(*seconds) && *seconds > 0), ErrorCode::kInvalidArgument,
              "{}: {} is no time limit, expected seconds above 0", flag, seconds.value_or(0));
}

}  // namespace

void ExecutorFlags::add(CommandLine& line) {
  line.group("Scheduling");
  line.option("--scheduler_policy", scheduler_policy_,
              "guaranteed_no_evict, max_utilization or static_batch [guaranteed_no_evict]");
  line.option("--context_chunking_policy", context_chunking_,
              "first_come_first_served or equal_progress [first_come_first_served]");
  line.flag("--enable_chunked_context", chunked_context_,
            "prompts longer than a step take several: always so");
  line.option("--max_context_chunk", config_.max_context_chunk,
              "tokens of one prompt in one step; 0: what the step holds [0]");
  line.option("--max_queue_size", config_.max_queue_size, "requests that may wait [1024]");
  line.option("--max_queue_tokens", config_.max_queue_tokens,
              "prompt tokens that may wait; 0: no limit [0]");
  line.option("--queue_seconds", config_.queue_seconds,
              "a request that has not begun by then ends [no limit]");
  line.option("--total_seconds", config_.total_seconds,
              "a request ends by then, with what it has [no limit]");
  line.option("--max_beam_width", max_beam_width_,
              "beams of a request [the engine's, or max_batch_size]");
  line.group("Worker process");
  line.flag("--worker_process", config_.worker_process,
            "weights, cache and kernels in a process that is started again where it ends");
  line.option("--worker_executable", config_.worker_executable,
              "the program that serves there [this one]");
  line.group("KV cache (its size: one flag of the first three)");
  KvCacheConfig& cache = config_.kv_cache;
  line.option("--max_tokens_in_paged_kv_cache,--max_tokens_in_paged_kvcache", cache.max_tokens,
              "size in tokens [batch x length, at most half of the free memory]");
  line.option("--kv_cache_bytes", cache.max_bytes, "size in bytes");
  line.option(
      "--kv_cache_free_gpu_mem_fraction,--kv_cache_free_gpu_memory_fraction,--free_memory_fraction",
      cache.free_memory_fraction, "share of what is free after the weights, on a CPU too");
  line.option("--tokens_per_block", tokens_per_block_, "16, 32, 64 or 128 [the engine's]");
  line.flag(
      "--enable_block_reuse,--kv_cache_enable_block_reuse,--enable_kv_cache_reuse,"
      "!--no_enable_block_reuse,!--no_kv_cache_enable_block_reuse",
      cache.enable_block_reuse, "equal prefixes are computed once [on]");
  line.flag("--enable_partial_reuse,!--no_enable_partial_reuse", cache.enable_partial_reuse,
            "also where only a part of a block is equal [on]");
  line.option("--host_cache_size,--kv_host_cache_bytes", cache.host_cache_bytes,
              "bytes of host memory for evicted blocks [0]");
  line.option("--disk_cache_size", cache.disk_cache_bytes,
              "bytes of a file for blocks evicted from there [0]");
  line.option("--disk_cache_directory", cache.disk_cache_directory, "where that file goes");
}

void ExecutorFlags::check() const {
  check_least("--max_context_chunk", config_.max_context_chunk, 0);
  check_least("--max_queue_size", config_.max_queue_size, 1);
  check_least("--max_queue_tokens", config_.max_queue_tokens, 0);
  check_seconds("--queue_seconds", config_.queue_seconds);
  check_seconds("--total_seconds", config_.total_seconds);
  TENON_CHECK(
      config_.worker_process || config_.worker_executable.empty(), ErrorCode::kInvalidArgument,
      "--worker_executable: {} serves nothing without --worker_process", config_.worker_executable);
  TENON_CHECK(!max_beam_width_ || (*max_beam_width_ >= 1 && *max_beam_width_ <= 256),
              ErrorCode::kInvalidArgument,
              "--max_beam_width: {} is out of range, expected 1 to 256",
              max_beam_width_.value_or(0));
}

void ExecutorFlags::check_cache() const {
  const KvCacheConfig& cache = config_.kv_cache;
  check_least("--max_tokens_in_paged_kv_cache", cache.max_tokens, 1);
  check_least("--kv_cache_bytes", cache.max_bytes, 1);
  check_least("--host_cache_size", cache.host_cache_bytes, 0);
  check_least("--disk_cache_size", cache.disk_cache_bytes, 0);
  const double fraction = cache.free_memory_fraction.value_or(1.0);
  TENON_CHECK(fraction > 0.0 && fraction <= 1.0, ErrorCode::kInvalidArgument,
              "--kv_cache_free_gpu_mem_fraction: {} is out of range, expected more than 0, at most "
              "1",
              fraction);
  TENON_CHECK(cache.max_tokens.has_value() + cache.max_bytes.has_value() +
                      cache.free_memory_fraction.has_value() <=
                  1,
              ErrorCode::kInvalidArgument,
              "--max_tokens_in_paged_kv_cache, --kv_cache_bytes and "
              "--kv_cache_free_gpu_mem_fraction all say how large the cache is; give one of them");
  TENON_CHECK((cache.disk_cache_bytes > 0) == !cache.disk_cache_directory.empty(),
              ErrorCode::kInvalidArgument,
              "--disk_cache_size and --disk_cache_directory: give both or neither");
  const std::int64_t block = tokens_per_block_.value_or(32);
  TENON_CHECK(block == 16 || block == 32 || block == 64 || block == 128,
              ErrorCode::kInvalidArgument, "--tokens_per_block: {}, expected 16, 32, 64 or 128",
              block);
}

ExecutorConfig ExecutorFlags::config() const {
  check();
  check_cache();
  ExecutorConfig config = config_;
  config.scheduler_policy =
      value_of("--scheduler_policy", scheduler_policy_, Names<SchedulerPolicy>(kPolicies));
  config.context_chunking =
      value_of("--context_chunking_policy", context_chunking_, Names<ContextChunking>(kChunkings));
  config.max_beam_width = max_beam_width_.value_or(0);
  config.kv_cache.tokens_per_block = tokens_per_block_.value_or(0);
  return config;
}

}  // namespace tenon::cli
