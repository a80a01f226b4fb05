// What sampling keeps of a slot on the device, and what a step gives back of a sequence.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "backends/cuda/device/step_view.h"

namespace tenon::cuda {

/// Fields as in SamplingParams; rewritten whole when the host sends new ones.
struct SlotSampling {
  float temperature = 1.F;
  float top_p = 1.F;
  float top_p_decay = 1.F;
  float top_p_min = 0.F;
  float min_p = 0.F;
  float typical_p = 1.F;
  float repetition_penalty = 1.F;
  float presence_penalty = 0.F;
  float frequency_penalty = 0.F;
  std::int32_t top_p_reset_id = -1;
  std::int32_t top_k = 0;
  std::int32_t min_tokens = 0;
  std::int32_t no_repeat_ngram_size = 0;
  std::int32_t sample_index = 0;
  std::uint64_t seed = 0;
  std::int32_t logprobs = 0;   ///< 1: log-probabilities are wanted, with top_count likeliest ones
  std::int32_t beam = 0;       ///< 1: no token is drawn, the top_count best continuations are given
  std::int32_t top_count = 0;  ///< tokens that a step lists
  std::int32_t keeps_use = 0;  ///< 1: SamplerSlots::used of this slot is kept
  std::int32_t keeps_order = 0;  ///< 1: SamplerSlots::order is
  std::int32_t end_count = 0;
  std::int32_t bias_count = 0;
  std::int32_t word_count = 0;
  std::int32_t* lists = nullptr;  ///< what has no fixed size, in the order of the functions below

  __host__ __device__ std::int32_t* end_ids() const { return lists; }  ///< [end_count]
  /// [end_count], the kernel's own: what it puts back where nothing but ends is left.
  __host__ __device__ float* saved() const { return reinterpret_cast<float*>(lists + end_count); }
  __host__ __device__ const std::int32_t* bias_ids() const { return lists + 2 * end_count; }
  __host__ __device__ const float* biases() const {
    return reinterpret_cast<const float*>(bias_ids() + bias_count);
  }
  /// [word_count]: where each bad word ends in words(); it begins where the one before ends.
  __host__ __device__ const std::int32_t* word_ends() const { return bias_ids() + 2 * bias_count; }
  __host__ __device__ const std::int32_t* words() const { return word_ends() + word_count; }
};

/// How often penalties have met a token of the vocabulary: times it was sampled, and whether it
/// stands in the prompt.
using TokenUse = std::uint32_t;
inline constexpr TokenUse kInPrompt = 0x80000000U;

struct SlotCounts {
  std::int32_t outputs = 0;
  std::int32_t since_reset = 0;  ///< output tokens since top_p_reset_id was met, or the beginning
  std::int32_t order = 0;        ///< tokens in SamplerSlots::order
};

/// A token that a step lists, of the likeliest or of a beam's continuations.
struct ListedToken {
  std::int32_t token;
  float logprob;
};

struct SampledSequence {
  std::int32_t token = -1;  ///< -1: not sampled, or nothing may be drawn, or a beam
  float logprob = 0.F;
  std::int32_t top_begin = 0;   ///< into the step's listed tokens
  std::int32_t top_count = -1;  ///< -1: neither log-probabilities nor beams were asked for
};

/// The device's memory of the sampler, by slot.
struct SamplerSlots {
  SlotSampling* sampling = nullptr;
  SlotCounts* counts = nullptr;
  std::int32_t* last_token = nullptr;
  TokenUse* used = nullptr;       ///< [slots][vocabulary]
  std::int32_t* order = nullptr;  ///< [slots][order_stride]: prompt and output
  std::int32_t vocabulary = 0;
  std::int32_t order_stride = 0;
};

/// One slot's update. Offsets are elements into the integers sent.
struct SlotChange {
  std::int32_t slot = 0;
  std::int32_t parent = -1;
  std::int32_t copy = -1;  ///< which copy its parent's state lies in
  std::int32_t reset = 0;
  std::int32_t clears_use = 0;
  std::int32_t takes_use = 0;    ///< from the parent
  std::int32_t takes_order = 0;  ///< likewise
  std::int32_t sampling = -1;    ///< index into the SlotSampling sent; -1: as it was
  std::int32_t lists = 0;
  std::int32_t lists_count = 0;
  std::int32_t history = 0;
  std::int32_t history_count = 0;
  std::int32_t history_ignored = 0;  ///< first ones that penalties do not look at
  std::int32_t outputs = 0;
  std::int32_t output_count = 0;
};

/// The updates of one batch, made in order; parents are as they were before the first.
struct SlotChanges {
  const SlotChange* changes = nullptr;
  const SlotSampling* sampling = nullptr;
  const std::int32_t* integers = nullptr;
  TokenUse* use_copies = nullptr;        ///< [copies][vocabulary]
  std::int32_t* order_copies = nullptr;  ///< [copies][order_stride]
  SlotCounts* count_copies = nullptr;    ///< [copies]
  std::int32_t* token_copies = nullptr;  ///< [copies]: last tokens
  std::int32_t count = 0;
  std::int32_t parents = 0;  ///< how many changes have one
};
void launch_slot_changes(const SamplerSlots& slots, const SlotChanges& changes,
                         cudaStream_t stream);

struct SampleArguments {
  const float* logits = nullptr;  ///< [L, vocabulary]
  StepView view;
  SamplerSlots slots;
  /// Late inputs, by sequence; an offset of -1: none. Null: none for any.
  const std::int32_t* mask_offsets = nullptr;  ///< into masks, in words
  const std::int32_t* mask_words = nullptr;    ///< words of each mask
  const std::uint32_t* masks = nullptr;
  const std::int64_t* logit_offsets = nullptr;  ///< into own_logits
  const float* own_logits = nullptr;            ///< the host's, in place of the step's
  float* processed = nullptr;                   ///< [S, vocabulary]: logits after the processors
  const std::int32_t* top_begin = nullptr;      ///< [S] into `listed`; null: nothing is listed
  std::uint64_t* unordered = nullptr;           ///< as long as `listed`
  ListedToken* listed = nullptr;                ///< in the host's memory
  SampledSequence* results = nullptr;           ///< [S], likewise
  std::int32_t sequences = 0;
};
void launch_sampler(const SampleArguments& arguments, cudaStream_t stream);

}  // namespace tenon::cuda
