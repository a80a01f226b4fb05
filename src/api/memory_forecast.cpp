// SPDX-License-Identifier: Apache-2.0
#include "api/memory_forecast.h"

#include <algorithm>
#include <filesystem>
#include <limits>

#include "api/serving_model.h"
#include "api/session_options.h"
#include "checkpoint/manifest.h"
#include "core/check.h"
#include "core/process_memory.h"

namespace tenon {
namespace {

constexpr std::int64_t kMostSequences = std::int64_t{1} << 16;

/// The largest n in [1, most] that `fits`, 0 where none does. Memory grows with n.
template <class Fits>
std::int64_t largest(std::int64_t most, const Fits& fits) {
  std::int64_t low = 0;
  std::int64_t high = 1;
  while (high < most && fits(high)) {  // never far beyond what fits
    low = high;
    high = std::min(high * 2, most);
  }
  if (high == most && low != most && fits(most)) return most;
  while (low + 1 < high) {
    const std::int64_t middle = low + (high - low) / 2;
    (fits(middle) ? low : high) = middle;
  }
  return low;
}

/// What to change where a load does not fit. Must not throw in place of the error it follows.
std::string advice(const Engine::Impl& engine, const SessionOptions& options) try {
  const FittingSizes sizes = sizes_that_fit(engine, options);
  if (sizes.largest_batch == 0 && sizes.longest_length == 0)
    return fmt::format(
        "\nNo batch of sequences of {} tokens fits, nor one token of {} sequences: use fewer "
        "(max_batch_size, max_seq_len), smaller weights, more ranks (tp_size, pp_size), or more "
        "memory.",
        options.max_sequence_length, options.max_sequences);
  return fmt::format(
      "\nWhat fits: {} sequences of {} tokens (max_batch_size {}, max_seq_len {}), or {} of {}; a "
      "cache for fewer tokens than all of them together lets more in.",
      sizes.largest_batch, options.max_sequence_length, sizes.largest_batch,
      options.max_sequence_length, options.max_sequences, sizes.longest_length);
} catch (const std::exception&) {
  return {};
}

}  // namespace

FittingSizes sizes_that_fit(const Engine::Impl& engine, const SessionOptions& options) {
  const auto fits = [&](std::int64_t sequences, std::int64_t length) {
    SessionOptions limits = options;
    limits.max_sequences = sequences;
    limits.max_step_tokens = std::max(limits.max_step_tokens, sequences);
    limits.max_sequence_length = length;
    const std::int64_t block = limits.tokens_per_block;
    limits.kv_cache.max_tokens = sequences * ((length + block - 1) / block * block);
    const SessionPlan plan = Session::plan(engine.graphs, engine.source.weights, limits);
    return plan.bytes <= plan.limit;
  };
  const std::int64_t longest = engine.graphs.traits.max_position > 0
                                   ? engine.graphs.traits.max_position
                                   : std::numeric_limits<std::int32_t>::max();
  return {
      largest(kMostSequences, [&](std::int64_t n) { return fits(n, options.max_sequence_length); }),
      largest(longest, [&](std::int64_t n) { return fits(options.max_sequences, n); })};
}

std::unique_ptr<Session> load_session(const Engine::Impl& engine, const SessionOptions& given) {
  SessionOptions options = given;
  if (is_directory_of(engine.source.name, DirectoryKind::kEngine))
    options.tactics.folders.insert(
        options.tactics.folders.begin(),
        (std::filesystem::absolute(engine.source.name) / kTacticFolder).string());
  try {
    return Session::load(engine.graphs, engine.source.weights, options);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kResourceExhausted) throw;
    fail(error.code(), "{}{}", error.what(), advice(engine, options));
  }
}

MemoryForecast forecast_memory(const Engine::Impl& engine, const ForecastOptions& options) {
  TENON_CHECK(options.device_memory >= 0, ErrorCode::kInvalidArgument,
              "device_memory: {} bytes, expected 0 (this machine) or more", options.device_memory);
  // A run holds the tokenizer too, before the session is loaded.
  const TextAssets text = load_text(engine, options.run);
  give_back_free_memory();
  MemoryForecast forecast;
  forecast.limits = session_options(options.run, engine.build, engine.graphs.traits);
  forecast.limits.device_memory = options.device_memory;
  forecast.plan = Session::plan(engine.graphs, engine.source.weights, forecast.limits);

  const FittingSizes sizes = sizes_that_fit(engine, forecast.limits);
  forecast.largest_batch = sizes.largest_batch;
  forecast.longest_length = sizes.longest_length;
  return forecast;
}

}  // namespace tenon
