// How the next token is chosen, and what a request gets back. Names and defaults follow
// TensorRT-LLM's SamplingConfig and OutputConfig where they exist there.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tenon/export.h"

namespace tenon {

struct TENON_API SamplingParams {
  // --- which tokens may be drawn -------------------------------------------------------------
  /// Softmax temperature, > 0; 0 means greedy.
  float temperature = 1.0F;
  /// Keep the k most likely tokens; 0 or -1: all; 1: greedy.
  std::int32_t top_k = 0;
  /// Keep the smallest set whose probability reaches top_p, in (0, 1]; 0 or 1: all.
  float top_p = 1.0F;
  /// top_p is multiplied by this after each token, in (0, 1] (Lee et al., 2022: factual nucleus).
  float top_p_decay = 1.0F;
  /// Decay stops at this, in (0, 1]; not above top_p where it decays.
  float top_p_min = 1e-6F;
  /// top_p starts anew after this token, a full stop say. Unset: never.
  std::optional<std::int32_t> top_p_reset_id{};
  /// Keep tokens at least min_p times as likely as the likeliest, in [0, 1].
  float min_p = 0.0F;
  /// Keep the tokens whose information is nearest to the entropy, up to this mass, in (0, 1]; 1:
  /// all (Meister et al., 2022: locally typical sampling). Of what top_k, top_p and min_p left, in
  /// that order, as in transformers.
  float typical_p = 1.0F;

  // --- what is made more or less likely ------------------------------------------------------
  /// logit < 0 ? logit * p : logit / p for every token of prompt and output (Keskar et al., 2019).
  float repetition_penalty = 1.0F;
  /// Subtracted once from the logit of every token of the output.
  float presence_penalty = 0.0F;
  /// Subtracted from the logit of every token of the output, times its count.
  float frequency_penalty = 0.0F;
  /// The prompt's first tokens that repetition_penalty does not look at.
  std::int32_t prompt_ignore_length = 0;
  /// Added to the logit of a token before the penalties, in [-1e9, 1e9]. A token may stand here
  /// once.
  std::vector<std::pair<std::int32_t, float>> logit_bias{};
  /// No run of that many tokens appears twice in prompt and output; 0: no limit.
  std::int32_t no_repeat_ngram_size = 0;
  /// Runs of tokens that must not appear in the output, nor begin in the prompt and end there: the
  /// last token is ruled out where prompt and output end with those before it.
  std::vector<std::vector<std::int32_t>> bad_words{};
  /// Texts that must not appear in the output; tokenized alone and after a space.
  std::vector<std::string> bad{};

  /// Random numbers depend on seed, sample and position alone. Unset: drawn by the executor.
  std::optional<std::uint64_t> seed{};

  // --- where the output ends -----------------------------------------------------------------
  /// Tokens to generate at most. Unset: up to the model's maximum length.
  std::optional<std::int32_t> max_tokens{};
  /// End-of-sequence is not chosen before that many tokens.
  std::int32_t min_tokens = 0;
  /// Go on past end-of-sequence.
  bool ignore_eos = false;
  /// Texts that end the output, found across token boundaries. Not with beams.
  std::vector<std::string> stop{};
  /// Tokens that end the output, besides the model's own.
  std::vector<std::int32_t> stop_token_ids{};
  /// Runs of tokens that end the output.
  std::vector<std::vector<std::int32_t>> stop_words{};
  /// Keep the stop text, or the run of tokens that stopped it, in the output.
  bool include_stop_in_output = false;

  // --- what comes back -----------------------------------------------------------------------
  /// Log-probabilities of the chosen token and this many likeliest ones; unset: none. They are the
  /// model's own; in a beam search those that beams are ranked by, after temperature, penalties and
  /// whatever rules tokens out.
  std::optional<std::int32_t> logprobs{};
  /// The same of the prompt's tokens, each given those before it; unset: none.
  std::optional<std::int32_t> prompt_logprobs{};
  /// Return the logits of every prompt token (RequestOutput::context_logits).
  bool return_context_logits = false;
  /// Return the logits each token was chosen from (CompletionOutput::generation_logits).
  bool return_generation_logits = false;
  /// Sequences per prompt that come back: samples, each with a number of its own, or the best
  /// beams.
  std::int32_t n = 1;
  /// Samples that are drawn, of which the n likeliest (mean log-probability) come back; 0: n.
  std::int32_t best_of = 0;

  // --- beam search ---------------------------------------------------------------------------
  /// Beams; 1: no beam search. With more, no token is drawn: of what says which tokens may be,
  /// temperature alone applies (0 counts as 1), and best_of must be 0 and n at most this.
  std::int32_t beam_width = 1;
  /// A beam's score is its log-probability divided by length^length_penalty, in [-32, 32].
  float length_penalty = 0.0F;
  /// 1: done with beam_width finished beams. 0: when no open beam, scored at its present length,
  /// can overtake the finished ones. -1: the same at the length that favours it most ("never" in
  /// transformers).
  std::int32_t early_stopping = 1;
  /// Subtracted from the score of a beam's k-th likeliest continuation, times k = 0, 1, …
  /// (Li et al., 2016: a simple, fast diverse decoding algorithm).
  float beam_search_diversity_rate = 0.0F;

  bool operator==(const SamplingParams&) const = default;
};

/// Throws Error{kInvalidArgument} naming the field: out of range, NaN, contradictory.
TENON_API void validate(const SamplingParams& params);

enum class FinishReason : std::uint8_t {
  kNotFinished,  ///< it goes on
  kEndId,        ///< the model's end of sequence
  kStopWords,    ///< a stop text or stop token
  kLength,       ///< max_tokens, or the model's maximum length
  kTimedOut,     ///< RequestOptions::queue_seconds or total_seconds
  kCancelled,    ///< by the caller or a shutdown
  kError,        ///< Response::error says which
};

/// "end_id", "stop_words", "length", …
TENON_API const char* to_string(FinishReason reason) noexcept;

}  // namespace tenon
