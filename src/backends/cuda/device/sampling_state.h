// What sampling keeps of a slot on the device, and what a step gives back of a sequence.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "backends/cuda/device/step_view.h"

namespace tenon::cuda {

inline constexpr int kMaxEndIds = 32;
inline constexpr int kMaxTopLogprobs = 128;

/// Fields as in SamplingParams; rewritten whole when the host sends new ones, but for output_count.
struct SlotSampling {
  float temperature = 1.F;
  float top_p = 1.F;
  float min_p = 0.F;
  float repetition_penalty = 1.F;
  float presence_penalty = 0.F;
  float frequency_penalty = 0.F;
  std::int32_t top_k = 0;
  std::int32_t logprobs = -1;  ///< top ones wanted; -1: none at all
  std::int32_t min_tokens = 0;
  std::int32_t sample_index = 0;
  std::uint64_t seed = 0;
  std::int32_t end_count = 0;
  std::int32_t end_ids[kMaxEndIds];
};

/// How often penalties have met a token of the vocabulary: times it was sampled, and whether it
/// stands in the prompt.
using TokenUse = std::uint32_t;
inline constexpr TokenUse kInPrompt = 0x80000000U;

struct SampledSequence {
  std::int32_t token = -1;  ///< -1: not sampled, or the mask left nothing
  float logprob = 0.F;
  std::int32_t top_count = -1;  ///< -1: no log-probabilities were asked for
  std::int32_t top_tokens[kMaxTopLogprobs];
  float top_logprobs[kMaxTopLogprobs];
};

/// The device's memory of the sampler, by slot.
struct SamplerSlots {
  SlotSampling* sampling = nullptr;
  std::int32_t* output_count = nullptr;
  std::int32_t* last_token = nullptr;
  TokenUse* used = nullptr;  ///< [slots][vocabulary]
  std::int32_t vocabulary = 0;
};

/// One slot's update, in the order in which it is made. Offsets are elements into the tokens sent.
struct SlotChange {
  std::int32_t slot = 0;
  std::int32_t parent = -1;  ///< the slot's state comes from `parent_copies[copy]`
  std::int32_t copy = -1;
  std::int32_t reset = 0;
  std::int32_t sampling = -1;  ///< index into the SlotSampling sent; -1: as it was
  std::int32_t history = 0;
  std::int32_t history_count = 0;
  std::int32_t history_ignored = 0;  ///< first ones that penalties do not look at
  std::int32_t outputs = 0;
  std::int32_t output_count = 0;
};

struct SlotChanges {
  const SlotChange* changes = nullptr;
  const SlotSampling* sampling = nullptr;
  const std::int32_t* tokens = nullptr;
  TokenUse* parent_copies = nullptr;     ///< [copies][vocabulary]
  std::int32_t* parent_state = nullptr;  ///< [copies][2]: output_count, last_token
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
  float* processed = nullptr;           ///< [S, vocabulary]: logits after penalties and masks
  std::uint64_t* candidates = nullptr;  ///< [S, vocabulary]
  SampledSequence* results = nullptr;   ///< [S]
  std::int32_t sequences = 0;
};
void launch_sampler(const SampleArguments& arguments, cudaStream_t stream);

}  // namespace tenon::cuda
