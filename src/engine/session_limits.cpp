// SPDX-License-Identifier: Apache-2.0
#include "engine/session_limits.h"

#include <algorithm>
#include <limits>

#include "core/check.h"
#include "engine/cache_size.h"

namespace tenon {
namespace {

constexpr std::int64_t kMaxRows = std::int64_t{1} << 24;

}  // namespace

void check_session_limits(const SessionOptions& options, const EngineTraits& traits) {
  TENON_CHECK(options.max_step_tokens >= 1 && options.max_sequences >= 1 &&
                  options.max_sequence_length >= 1 && options.tokens_per_block >= 1,
              ErrorCode::kInvalidArgument,
              "limits must be at least 1: max_num_tokens {}, max_batch_size {}, max_seq_len {}, "
              "tokens_per_block {}",
              options.max_step_tokens, options.max_sequences, options.max_sequence_length,
              options.tokens_per_block);
  // Positions and slots are 32 bits wide; sizes computed from these stay far within 64.
  TENON_CHECK(options.max_step_tokens <= kMaxRows && options.max_sequences <= kMaxRows &&
                  options.tokens_per_block <= kMaxRows &&
                  options.max_sequence_length <= std::numeric_limits<std::int32_t>::max(),
              ErrorCode::kInvalidArgument,
              "limits out of range: max_num_tokens {}, max_batch_size {} and tokens_per_block {} "
              "may be {} at most, max_seq_len {} less than 2^31",
              options.max_step_tokens, options.max_sequences, options.tokens_per_block, kMaxRows,
              options.max_sequence_length);
  check_tokens_per_block(options.tokens_per_block);
  TENON_CHECK(traits.max_position == 0 || options.max_sequence_length <= traits.max_position,
              ErrorCode::kInvalidArgument,
              "max_seq_len {}: the model's positions end at {}; use at most that",
              options.max_sequence_length, traits.max_position);
  TENON_CHECK(options.max_step_tokens >= options.max_sequences, ErrorCode::kInvalidArgument,
              "max_num_tokens {} must be at least max_batch_size {}: each running sequence takes "
              "a token of the step",
              options.max_step_tokens, options.max_sequences);
}

std::int64_t step_host_bytes(const SessionOptions& options, int threads) {
  constexpr std::int64_t kRow = 64;            // of a batch, copies included
  constexpr std::int64_t kStack = 128 * 1024;  // of a thread, with what malloc keeps for it
  return options.max_step_tokens * kRow + options.max_sequences * options.max_sequence_length * 8 +
         (threads + 2) * kStack;
}

std::int64_t communication_bytes(const ProgramDescription& program, const Mapping& mapping) {
  std::int64_t sum = 0;
  std::int64_t message = 0;
  for (const ProgramNode& node : program.nodes) {
    if (node.inputs.empty()) continue;
    const ValueType& type = program.values[static_cast<std::size_t>(node.inputs[0])].type;
    const std::int64_t bytes =
        program.limits.elements(type) * static_cast<std::int64_t>(size_of(type.dtype));
    if (std::holds_alternative<AllReduce>(node.op)) sum = std::max(sum, bytes);
    if (std::holds_alternative<Send>(node.op)) message = std::max(message, bytes);
  }
  return sum / mapping.tp_size + 2 * message;
}

}  // namespace tenon
