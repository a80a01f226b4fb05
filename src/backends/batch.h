// Batch: one step's work as plain data without pointers, so that rank workers may be processes.
// Changes to persistent slots come first, then the rows of the step: decodes, then context chunks.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "tenon/sampling.h"

namespace tenon {

/// Token id that stands for "the token this slot sampled last": the host need not know it yet.
inline constexpr std::int32_t kLastSampledToken = -1;

/// Blocks [begin, begin + blocks.size()) of one sequence's table in one cache group.
struct BlockTableChange {
  std::int32_t group = 0;
  std::int32_t begin = 0;
  std::vector<std::int32_t> blocks;
};

/// What changes in a slot before the step. In the order of the fields; `parent` of every update is
/// read before any update of the batch is made.
struct SlotUpdate {
  std::int32_t slot = 0;
  bool reset = false;  ///< a new sequence: history, tables and sampling are cleared first
  /// The slot takes over tables, history and last token of this one, as a beam that continues
  /// another does; -1: none. Its sampling parameters stay its own.
  std::int32_t parent = -1;
  std::vector<BlockTableChange> tables;
  std::optional<SamplingParams> sampling;  ///< with seed set
  std::int32_t sample_index = 0;           ///< which of a request's n samples: part of the RNG key
  std::vector<std::int32_t> end_ids;       ///< held back while fewer than min_tokens are out
  std::vector<std::int32_t> history;       ///< the prompt, in order: what penalties look at
  /// Tokens of the output that were not sampled by this slot: those of a sequence that comes back
  /// after an eviction, or the ones a beam search chose. They count for penalties and min_tokens;
  /// the last of them becomes the slot's last token.
  std::vector<std::int32_t> outputs;
};

/// Work on the cache before the step, in order. Swapped blocks lie in the host's memory (or in a
/// file), numbered from 0 in each group.
struct CacheCommand {
  enum class Kind : std::uint8_t {
    kCopyBlock,    ///< block `source` to block `destination`
    kSwapOut,      ///< block `source` to swapped block `destination`
    kSwapIn,       ///< swapped block `source` to block `destination`
    kMoveSwapped,  ///< swapped block `source` to swapped block `destination`
  } kind = Kind::kCopyBlock;
  std::int32_t group = 0;
  std::int32_t source = 0;
  std::int32_t destination = 0;
};

struct Batch {
  std::vector<SlotUpdate> updates;
  std::vector<CacheCommand> commands;

  // One entry a sequence, S in all.
  std::vector<std::int32_t> slots;
  std::vector<std::int32_t> token_begin;      ///< [S + 1]: tokens of sequence s are
                                              ///< [token_begin[s], token_begin[s + 1])
  std::vector<std::int32_t> cached_tokens;    ///< in the cache before this step
  std::vector<std::int32_t> sequence_length;  ///< what length-dependent rope looks at: prompt
                                              ///< length, or length so far where that is more
  std::vector<std::int32_t> sample_row;       ///< index into logit_rows to sample from; -1: none

  // One entry a token, T in all.
  std::vector<std::int32_t> token_ids;  ///< or kLastSampledToken
  std::vector<std::int32_t> positions;

  std::vector<std::int32_t> logit_rows;  ///< [L] tokens whose logits are wanted

  // Cross-attention: packed encoder tokens of each sequence; empty where there are none.
  std::vector<std::int32_t> encoder_begin;  ///< [S + 1]

  /// The step may be the one that loses the device: one whose errors come later than the op that
  /// made them finds out which op it was, at the cost of speed.
  bool watched = false;

  std::int64_t tokens() const { return static_cast<std::int64_t>(token_ids.size()); }
  std::int64_t sequences() const { return static_cast<std::int64_t>(slots.size()); }
};

/// Throws Error{kInternal} where sizes or indices contradict each other.
void verify(const Batch& batch);

/// What arrives after forward was issued, before sampling. Each is empty, or has an entry a
/// sequence of the batch, which may be empty itself.
struct LateInputs {
  /// A bit per token id (allowed: 1); empty: everything is allowed.
  std::vector<std::vector<std::uint32_t>> allowed_tokens;
  /// Logits to sample from in place of the step's own, [vocab]: a logits processor's.
  std::vector<std::vector<float>> logits;
};

struct TokenLogprob {
  std::int32_t token = 0;
  float logprob = 0.F;
};

/// What a sequence of the batch got. With beam_width > 1 no token is drawn: top_logprobs[0] holds
/// the listed_tokens() likeliest continuations, best first, for the host to choose from (fewer
/// where fewer are allowed): log-softmax of the logits over temperature, then the penalties.
struct SequenceResult {
  std::vector<std::int32_t> tokens;  ///< none where sample_row is -1
  std::vector<float> logprobs;       ///< of each token, where asked for
  std::vector<std::vector<TokenLogprob>> top_logprobs;
};

/// Continuations of one beam that the host has to see: enough for beam_width open ones beside every
/// end id.
inline std::int64_t beam_candidates(std::int32_t beam_width, std::size_t end_ids) {
  return beam_width * std::max<std::int64_t>(2, 1 + static_cast<std::int64_t>(end_ids));
}

/// Tokens that a step lists for a sequence: the likeliest ones beside the drawn one, or a beam's
/// continuations, of which the host looks at the first beam_candidates().
inline std::int64_t listed_tokens(const SamplingParams& params, std::size_t end_ids) {
  const std::int64_t wanted = params.logprobs.value_or(0);
  if (params.beam_width <= 1) return wanted;
  return std::max(wanted, beam_candidates(params.beam_width, end_ids));
}

struct StepResult {
  std::vector<SequenceResult> sequences;  ///< [S]
};

}  // namespace tenon
