// Beam search of one request: which beams go on after a step, which have ended, which n come back.
// Pure rules over log-probabilities; slots and cache blocks are the executor's affair. The rules
// are those of transformers' generate (num_beams), with TensorRT-LLM's defaults.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backends/batch.h"
#include "tenon/sampling.h"

namespace tenon {

/// What ends a request whose next token nothing is left for.
inline constexpr char kNoTokenMayFollow[] =
    "no token may follow: the token mask, bad_words, logit_bias and the logits processor together "
    "ban all, or logits are no finite numbers";

class BeamSearch {
 public:
  /// `end_ids`: a beam that chooses one of them is finished (none where ignore_eos). So it is with
  /// params.stop_token_ids and, once its output ends in one, params.stop_words; none of the three
  /// before params.min_tokens. Throws Error{kInvalidArgument} where beam_width, n or max_new_tokens
  /// is below 1, or a number is not finite.
  BeamSearch(const SamplingParams& params, std::vector<std::int32_t> end_ids,
             std::int64_t max_new_tokens);

  /// An open beam after advance().
  struct Beam {
    int parent = 0;  ///< index among the beams before
    std::int32_t token = 0;
    double cumulative_logprob = 0;
  };

  /// What one step told of an open beam, kept for the token that it chose next.
  struct Row {
    std::vector<TokenLogprob> top;  ///< the params.logprobs likeliest tokens
    std::vector<float> logits;      ///< [vocab], where given to advance()
  };
  /// One a token; none where neither of a row's parts is wanted. Beams share those of the way that
  /// they have in common.
  using Rows = std::vector<std::shared_ptr<const Row>>;

  /// A beam that came to its end.
  struct Finished {
    std::vector<std::int32_t> tokens;  ///< of the output, with the end id where it has one
    std::vector<float> logprobs;       ///< one a token
    double score = 0;                  ///< cumulative_logprob / length^length_penalty
    FinishReason reason = FinishReason::kEndId;
    Rows rows{};
  };

  /// `candidates[b]`: SequenceResult::top_logprobs[0] of open beam b; one entry before the first
  /// step, beam_width after it (as many as advance() returned). Returns the open beams, best first:
  /// beam_width of them, or fewer where fewer continuations are allowed; empty when done().
  /// A log-probability that is not finite is no continuation; a beam without one is dropped. Where
  /// no beam has one the search is done, and the open ones stay for best(). `logits`: a row for
  /// each open beam, or none; they are moved from.
  std::vector<Beam> advance(std::span<const std::vector<TokenLogprob>> candidates,
                            std::span<std::vector<float>> logits = {});

  bool done() const { return done_; }
  /// Done before any beam ended, since no token may follow: what best() gives is cut short.
  bool stuck() const { return stuck_; }
  /// Output tokens of open beam b.
  std::span<const std::int32_t> tokens(int beam) const;
  std::int64_t length() const { return length_; }  ///< tokens of each open beam
  /// The best beams, at most params.n; open beams count with what they have. For done() or for a
  /// request that ends early.
  std::vector<Finished> best(FinishReason open_reason) const;

 private:
  struct Open {
    std::vector<std::int32_t> tokens;
    std::vector<float> logprobs;
    Rows rows;
    double cumulative_logprob = 0;
  };

  /// A continuation of an open beam.
  struct Choice {
    int parent = 0;
    TokenLogprob token;
    double cumulative_logprob = 0;
    double rank = 0;  ///< cumulative_logprob less what diversity takes from it
  };

  std::vector<Choice> ranked(std::span<const std::vector<TokenLogprob>> candidates) const;
  FinishReason reason_to_end(const Choice& choice) const;
  Rows rows_of(std::span<const std::vector<TokenLogprob>> candidates,
               std::span<std::vector<float>> logits) const;
  Open extended(const Choice& choice, const Rows& rows) const;
  Finished finished(const Open& beam, FinishReason reason) const;
  void keep_finished(Finished beam);
  bool can_improve() const;

  SamplingParams params_;
  std::vector<std::int32_t> end_ids_;
  std::int64_t max_new_tokens_ = 0;
  std::int64_t length_ = 0;
  std::vector<Open> open_;
  std::vector<Finished> finished_;  ///< beam_width at most, best first
  bool done_ = false;
  bool stuck_ = false;
};

}  // namespace tenon
