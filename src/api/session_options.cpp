// SPDX-License-Identifier: Apache-2.0
#include "api/session_options.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "api/build_engine.h"
#include "api/engine_cache.h"
#include "core/check.h"
#include "core/dtype.h"
#include "core/nearest_name.h"
#include "engine/backend_factory.h"

namespace tenon {
namespace {

constexpr std::int64_t kDefaultBatchSize = 16;
constexpr std::int64_t kDefaultStepTokens = 512;
constexpr std::int64_t kDefaultSequenceLength = 4096;

DataType option_type(const std::string& name, const char* field, DataType automatic,
                     std::initializer_list<DataType> allowed) {
  const DataType type = name == "auto" ? automatic : parse_data_type(name, field);
  std::string names;
  for (const DataType one : allowed) {
    if (type == one) return type;
    names += std::string(names.empty() ? "" : ", ") + to_string(one);
  }
  fail(ErrorCode::kUnsupported, "{}: {} is not supported here; expected one of {}", field, name,
       names);
}

/// A program may cast any number to an enumeration.
template <class Enum>
void check_choice(const char* field, Enum value, Enum last) {
  TENON_CHECK(value <= last, ErrorCode::kInvalidArgument, "{}: {} is none of its values, 0 to {}",
              field, static_cast<int>(value), static_cast<int>(last));
}

void check_at_least(const char* field, std::int64_t value, std::int64_t least) {
  TENON_CHECK(value >= least, ErrorCode::kInvalidArgument,
              "{}: {} is out of range, expected {} or more", field, value, least);
}

void check_seconds(const char* field, std::optional<double> seconds) {
  TENON_CHECK(!seconds || (std::isfinite(*seconds) && *seconds > 0), ErrorCode::kInvalidArgument,
              "{}: {} is no time limit, expected seconds above 0", field, seconds.value_or(0));
}

constexpr std::pair<const char*, TacticMode> kTacticModes[] = {
    {"auto", TacticMode::kAuto}, {"off", TacticMode::kOff}, {"refresh", TacticMode::kRefresh}};

TacticMode tactic_mode(const std::string& name) {
  std::vector<std::string> known;
  for (const auto& [text, mode] : kTacticModes) {
    if (name == text) return mode;
    known.emplace_back(text);
  }
  fail(ErrorCode::kInvalidArgument, "tactics: \"{}\" is not known{}; expected auto, off or refresh",
       name, did_you_mean(name, known));
}

/// What an engine was built with, where that was somebody's choice; else at most `usual`.
std::int64_t limit_of(std::int64_t built, std::int64_t unchosen, std::int64_t usual) {
  return built == unchosen ? std::min(built, usual) : built;
}

/// The cache folder's place of what was measured, for engines that cannot keep it themselves.
std::vector<std::string> tactic_folders(const LlmOptions& options) {
  if (!options.use_cache_folder) return {};
  try {
    return {(cache_folder() / kTacticFolder).string()};
  } catch (const Error&) {  // no place for a cache folder: what is built is not kept either
    return {};
  }
}

}  // namespace

/// What the session does not look at. The cache's fields are checked where its size is found.
void check_options(const LlmOptions& options) {
  TENON_CHECK(options.threads >= 0 && options.threads <= kMaxThreads, ErrorCode::kInvalidArgument,
              "threads: {} is out of range, expected 1 to {}, or 0 for the physical cores",
              options.threads, kMaxThreads);
  check_at_least("memory_limit", options.memory_limit.value_or(1), 1);
  const ExecutorConfig& executor = options.executor;
  check_choice("scheduler_policy", executor.scheduler_policy, SchedulerPolicy::kStaticBatch);
  check_choice("context_chunking", executor.context_chunking, ContextChunking::kEqualProgress);
  check_at_least("max_context_chunk", executor.max_context_chunk, 0);
  check_at_least("max_queue_size", executor.max_queue_size, 1);
  check_at_least("max_queue_tokens", executor.max_queue_tokens, 0);
  check_at_least("max_beam_width", executor.max_beam_width, 0);
  check_at_least("iter_stats_max_iterations", executor.iter_stats_max_iterations, 0);
  check_at_least("event_buffer_size", executor.kv_cache.event_buffer_size, 0);
  tactic_mode(options.tactics);
  check_seconds("queue_seconds", executor.queue_seconds);
  check_seconds("total_seconds", executor.total_seconds);
  TENON_CHECK(
      executor.worker_process || executor.worker_executable.empty(), ErrorCode::kInvalidArgument,
      "worker_executable: {} is named, but worker_process is not set", executor.worker_executable);
}

SessionOptions session_options(const LlmOptions& options, const BuildConfig& build,
                               const EngineTraits& traits) {
  check_options(options);
  SessionOptions session;
  session.device = options.device;
  const DataType automatic = choose_device(options.device).default_precision();
  session.mapping = options.mapping;
  session.threads = options.threads;
  session.pin = options.pin_threads;
  session.policy.activation =
      option_type(options.activation_dtype, "activation_dtype", automatic,
                  {DataType::kFloat32, DataType::kBFloat16, DataType::kFloat8E4M3});
  session.policy.deterministic = options.deterministic;
  session.policy.max_isa = options.max_isa;
  session.cache_dtype = option_type(options.kv_cache_dtype, "kv_cache_dtype", automatic,
                                    {DataType::kFloat32, DataType::kFloat16, DataType::kBFloat16,
                                     DataType::kFloat8E4M3, DataType::kInt8});
  session.tokens_per_block = build.tokens_per_block;
  const std::int64_t longest = longest_sequence(traits);
  session.max_sequence_length = options.max_seq_len.value_or(
      limit_of(build.max_seq_len.value_or(longest), longest, kDefaultSequenceLength));
  const BuildConfig unchosen;
  session.max_sequences = options.max_batch_size.value_or(
      limit_of(build.max_batch_size, unchosen.max_batch_size, kDefaultBatchSize));
  const std::int64_t step_tokens =
      limit_of(build.max_num_tokens, unchosen.max_num_tokens, kDefaultStepTokens);
  session.max_step_tokens = options.max_num_tokens.value_or(
      std::max(session.max_sequences, build.opt_num_tokens.value_or(step_tokens)));
  session.max_input_length = build.max_input_len.value_or(0);
  session.all_logits = options.gather_context_logits || build.gather_context_logits;
  session.memory_limit = options.memory_limit.value_or(0);
  session.kv_cache = options.executor.kv_cache;
  if (options.kv_cache_tokens) session.kv_cache.max_tokens = options.kv_cache_tokens;
  session.taps = {options.taps.begin(), options.taps.end()};
  session.tactics.mode = tactic_mode(options.tactics);
  session.tactics.folders = tactic_folders(options);
  return session;
}

}  // namespace tenon
