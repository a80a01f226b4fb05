// How the next token is chosen, and what a request gets back. Names and defaults follow
// TensorRT-LLM's SamplingConfig and OutputConfig where they exist there.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tenon/export.h"

namespace tenon {

struct TENON_API SamplingParams {
  /// Softmax temperature, > 0; 0 means greedy.
  float temperature = 1.0F;
  /// Keep the k most likely tokens; 0 or -1: all; 1: greedy.
  std::int32_t top_k = 0;
  /// Keep the smallest set whose probability reaches top_p, in (0, 1]; 0 or 1: all.
  float top_p = 1.0F;
  /// Keep tokens at least min_p times as likely as the likeliest, in [0, 1).
  float min_p = 0.0F;
  /// logit < 0 ? logit * p : logit / p for every token of prompt and output (Keskar et al., 2019).
  float repetition_penalty = 1.0F;
  /// Subtracted once from the logit of every token of the output.
  float presence_penalty = 0.0F;
  /// Subtracted from the logit of every token of the output, times its count.
  float frequency_penalty = 0.0F;
  /// Random numbers depend on seed, sample and position alone. Unset: drawn by the executor.
  std::optional<std::uint64_t> seed{};
  /// Tokens to generate at most. Unset: up to the model's maximum length.
  std::optional<std::int32_t> max_tokens{};
  /// End-of-sequence is not chosen before that many tokens.
  std::int32_t min_tokens = 0;
  /// Go on past end-of-sequence.
  bool ignore_eos = false;
  /// Texts that end the output, found across token boundaries.
  std::vector<std::string> stop{};
  /// Tokens that end the output, besides the model's own.
  std::vector<std::int32_t> stop_token_ids{};
  /// Keep the stop text in the output.
  bool include_stop_in_output = false;
  /// Log-probabilities of the chosen token and this many likeliest ones; unset: none.
  std::optional<std::int32_t> logprobs{};
  /// Return the logits each token was chosen from (CompletionOutput::generation_logits).
  bool return_generation_logits = false;
  /// Sequences per prompt, each with a sample number of its own.
  std::int32_t n = 1;

  bool operator==(const SamplingParams&) const = default;
};

/// Throws Error{kInvalidArgument} naming the field: out of range, NaN, contradictory.
TENON_API void validate(const SamplingParams& params);

enum class FinishReason : std::uint8_t {
  kNotFinished,
  kEndId,      ///< the model's end of sequence
  kStopWords,  ///< a stop text or stop token
  kLength,     ///< max_tokens, or the model's maximum length
  kTimedOut,
  kCancelled,
  kError,
};

/// "end_id", "stop_words", "length", …
TENON_API const char* to_string(FinishReason reason) noexcept;

}  // namespace tenon
