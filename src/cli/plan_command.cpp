// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <cstdio>
#include <optional>

#include "api/load_engine.h"
#include "api/memory_forecast.h"
#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/llm_flags.h"
#include "core/check.h"
#include "core/json.h"
#include "core/ledger.h"

namespace tenon::cli {
namespace {

Json as_json(const MemoryForecast& forecast) {
  Json rows = Json::array();
  for (const Ledger::Row& row : forecast.plan.rows) {
    Json entry = Json::object();
    entry.set("kind", to_string(row.kind));
    entry.set("name", row.name);
    entry.set("bytes", row.planned);
    rows.push_back(std::move(entry));
  }
  Json json = Json::object();
  json.set("rows", std::move(rows));
  json.set("bytes", forecast.plan.bytes);
  json.set("limit_bytes", forecast.plan.limit);
  json.set("fits", forecast.fits());
  json.set("max_batch_size", forecast.limits.max_sequences);
  json.set("max_seq_len", forecast.limits.max_sequence_length);
  json.set("max_num_tokens", forecast.limits.max_step_tokens);
  json.set("kv_cache_tokens", forecast.plan.cache_tokens);
  json.set("largest_batch", forecast.largest_batch);
  json.set("longest_length", forecast.longest_length);
  return json;
}

std::string as_text(const MemoryForecast& forecast) {
  std::string text;
  for (const Ledger::Row& row : forecast.plan.rows)
    text += fmt::format("  {:<14} {:<40} {:>12}\n", to_string(row.kind), row.name,
                        format_bytes(row.planned));
  text += fmt::format("  {:<14} {:<40} {:>12}\n", "sum", "", format_bytes(forecast.plan.bytes));
  text += fmt::format("  {:<14} {:<40} {:>12}{}\n\n", "limit", "",
                      format_bytes(forecast.plan.limit), forecast.fits() ? "" : "  DOES NOT FIT");
  text += fmt::format(
      "for max_batch_size {}, max_seq_len {}, max_num_tokens {}; the cache holds {} "
      "tokens\n",
      forecast.limits.max_sequences, forecast.limits.max_sequence_length,
      forecast.limits.max_step_tokens, forecast.plan.cache_tokens);
  const auto count = [](std::int64_t n) { return n == 0 ? "none" : std::to_string(n); };
  text += fmt::format("largest batch of {} tokens each:  {}\n", forecast.limits.max_sequence_length,
                      count(forecast.largest_batch));
  text += fmt::format("longest sequences of a batch of {}:  {}\n", forecast.limits.max_sequences,
                      count(forecast.longest_length));
  return text;
}

}  // namespace

int plan_command(const Arguments& arguments) {
  ModelFlags model;
  std::optional<std::int64_t> device_memory;
  bool json = false;
  CommandLine line("plan",
                   "Says what a run would take of the memory, and the largest batch and longest "
                   "sequences that fit, before anything is loaded. Ends with 7 where it does not "
                   "fit.");
  model.add(line);
  line.group("Plan");
  line.option("--device_memory", device_memory,
              "plan for a device with that many bytes, all of them free [this machine]");
  line.flag("--json", json, "print as JSON");
  if (!line.parse(arguments)) return 0;
  TENON_CHECK(!device_memory || *device_memory >= 1, ErrorCode::kInvalidArgument,
              "--device_memory: {} is out of range, expected bytes, 1 or more",
              device_memory.value_or(0));

  const LlmOptions run = model.options();
  std::optional<MemoryForecast> forecast;
  load_engine(model.path(), /*use_cache=*/false, [&](const std::shared_ptr<Engine::Impl>& engine) {
    forecast = forecast_memory(*engine, {.run = run, .device_memory = device_memory.value_or(0)});
  });
  std::printf("%s",
              json ? (as_json(*forecast).dump(2) + "\n").c_str() : as_text(*forecast).c_str());
  return forecast->fits() ? 0 : 7;
}

}  // namespace tenon::cli
