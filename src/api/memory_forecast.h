// What a run of a model would take of the memory, per row of the ledger, and how far its limits
// could go. Nothing is loaded but tokenizer and template: of the weights, descriptions are read.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include "api/engine_impl.h"
#include "engine/session.h"
#include "tenon/llm.h"

namespace tenon {

struct ForecastOptions {
  LlmOptions run;
  std::int64_t device_memory = 0;  ///< of a device that is not here; 0: this machine
};

struct MemoryForecast {
  SessionPlan plan;
  SessionOptions limits;            ///< of the run
  std::int64_t largest_batch = 0;   ///< of sequences of limits.max_sequence_length; 0: not one
  std::int64_t longest_length = 0;  ///< of limits.max_sequences sequences; 0: not a token
  bool fits() const { return plan.bytes <= plan.limit; }
};

/// How far the limits could go, with a cache that holds every token of every sequence.
struct FittingSizes {
  std::int64_t largest_batch = 0;   ///< of sequences of max_sequence_length; 0: not one
  std::int64_t longest_length = 0;  ///< of max_sequences sequences; 0: not a token
};
FittingSizes sizes_that_fit(const Engine::Impl& engine, const SessionOptions& options);

/// Session::load; an Error{kResourceExhausted} says the sizes that would fit too. What is measured
/// of kernels is kept in the engine's own directory first, where it has one.
std::unique_ptr<Session> load_session(const Engine::Impl& engine, const SessionOptions& options);

MemoryForecast forecast_memory(const Engine::Impl& engine, const ForecastOptions& options);

}  // namespace tenon
