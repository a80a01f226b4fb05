// Logits processors on the device, of one row by one block, in the order of
// backends/cpu/sampler_processors.h.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cuda/device/sampler_row.cuh"
#include "backends/cuda/device/sampling_state.h"

namespace tenon::cuda {

/// One sequence's row, and what its slot keeps.
struct SamplerRow {
  const SlotSampling* p;
  const float* raw;
  float scale;  ///< raw * scale - shift is what the processors begin with
  float shift;
  const TokenUse* used;
  const std::int32_t* order;
  SlotCounts counts;
  const std::uint32_t* mask;  ///< null: everything is allowed
  std::int32_t mask_words;
  std::int32_t vocabulary;

  __device__ bool has_penalties() const {
    return p->repetition_penalty != 1.F || p->presence_penalty != 0.F ||
           p->frequency_penalty != 0.F;
  }
  __device__ bool holds_back() const { return counts.outputs < p->min_tokens && p->end_count > 0; }
  __device__ bool has_processors() const {
    return mask != nullptr || p->bias_count > 0 || p->word_count > 0 ||
           p->no_repeat_ngram_size > 0 || has_penalties() || holds_back();
  }
};

__device__ inline void ban(const SamplerRow& row, std::int32_t token, float* out) {
  if (token >= 0 && token < row.vocabulary) out[token] = never();
}

__device__ inline bool same_run(const std::int32_t* a, const std::int32_t* b, std::int32_t count) {
  for (std::int32_t i = 0; i < count; ++i)
    if (a[i] != b[i]) return false;
  return true;
}

// Whatever followed the sequence's last size - 1 tokens before must not follow them again.
__device__ inline void ban_repeats(const SamplerRow& row, float* out) {
  const std::int32_t size = row.p->no_repeat_ngram_size;
  if (size <= 0 || row.counts.order < size) return;
  const std::int32_t* const end = row.order + row.counts.order - (size - 1);
  for (std::int32_t i = threadIdx.x; i <= row.counts.order - size; i += kSamplerThreads)
    if (same_run(end, row.order + i, size - 1)) ban(row, row.order[i + size - 1], out);
}

__device__ inline void ban_words(const SamplerRow& row, float* out) {
  const std::int32_t* const ends = row.p->word_ends();
  for (std::int32_t w = threadIdx.x; w < row.p->word_count; w += kSamplerThreads) {
    const std::int32_t begin = w == 0 ? 0 : ends[w - 1];
    const std::int32_t size = ends[w] - begin;
    if (size <= 0 || size - 1 > row.counts.order) continue;
    const std::int32_t* const word = row.p->words() + begin;
    if (same_run(word, row.order + row.counts.order - (size - 1), size - 1))
      ban(row, word[size - 1], out);
  }
}

// End ids go to -infinity, unless that leaves nothing (a grammar that wants the end now).
__device__ inline void hold_back(const SamplerRow& row, float* out) {
  const SlotSampling& p = *row.p;
  for (std::int32_t i = threadIdx.x; i < p.end_count; i += kSamplerThreads) {
    p.saved()[i] = out[p.end_ids()[i]];
    out[p.end_ids()[i]] = never();
  }
  __syncthreads();
  int left = 0;
  visit_own(LogitRow(out, row.vocabulary),
            [&](std::int32_t, float x) { left |= x > never() ? 1 : 0; });
  if (__syncthreads_or(left) != 0) return;
  for (std::int32_t i = threadIdx.x; i < p.end_count; i += kSamplerThreads)
    out[p.end_ids()[i]] = p.saved()[i];
  __syncthreads();
}

// The value of token `id`: penalties, then the mask.
__device__ inline float processed_value(const SamplerRow& row, std::int32_t id, float x,
                                        TokenUse use) {
  const SlotSampling& p = *row.p;
  if (use != 0) {
    x = x < 0.F ? x * p.repetition_penalty : x / p.repetition_penalty;
    const TokenUse outputs = use & ~kInPrompt;
    if (outputs > 0) x -= p.presence_penalty + p.frequency_penalty * static_cast<float>(outputs);
  }
  if (row.mask == nullptr) return x;
  const std::int32_t word = id / 32;
  const bool allowed = word < row.mask_words && ((row.mask[word] >> (id % 32)) & 1U) != 0;
  return allowed ? x : never();
}

// All tokens' values, from `in` to `out`, which may be one.
__device__ inline void process_values(const SamplerRow& row, const float* in, float scale,
                                      float shift, float* out) {
  const bool penalties = row.has_penalties();
  const auto places = reinterpret_cast<std::uintptr_t>(in) | reinterpret_cast<std::uintptr_t>(out) |
                      reinterpret_cast<std::uintptr_t>(row.used);
  const std::int32_t quads = places % 16 == 0 ? row.vocabulary / 4 : 0;
  constexpr int kAtOnce = 2;
#pragma unroll 1
  for (std::int32_t at = threadIdx.x; at < quads; at += kAtOnce * kSamplerThreads) {
    float4 x[kAtOnce];
    uint4 use[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const std::int32_t quad = min(at + i * kSamplerThreads, quads - 1);
      x[i] = reinterpret_cast<const float4*>(in)[quad];
      use[i] = penalties ? reinterpret_cast<const uint4*>(row.used)[quad] : uint4{};
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const std::int32_t quad = at + i * kSamplerThreads;
      if (quad >= quads) break;
      reinterpret_cast<float4*>(out)[quad] =
          make_float4(processed_value(row, 4 * quad, x[i].x * scale - shift, use[i].x),
                      processed_value(row, 4 * quad + 1, x[i].y * scale - shift, use[i].y),
                      processed_value(row, 4 * quad + 2, x[i].z * scale - shift, use[i].z),
                      processed_value(row, 4 * quad + 3, x[i].w * scale - shift, use[i].w));
    }
  }
#pragma unroll 1
  for (std::int32_t i = 4 * quads + static_cast<std::int32_t>(threadIdx.x); i < row.vocabulary;
       i += kSamplerThreads)
    out[i] = processed_value(row, i, in[i] * scale - shift, penalties ? row.used[i] : 0U);
  __syncthreads();
}

__device__ inline void process(const SamplerRow& row, float* out) {
  const SlotSampling& p = *row.p;
  if (p.bias_count > 0) {
    for (std::int32_t i = threadIdx.x; i < row.vocabulary; i += kSamplerThreads)
      out[i] = row.raw[i] * row.scale - row.shift;
    __syncthreads();
    for (std::int32_t i = threadIdx.x; i < p.bias_count; i += kSamplerThreads)
      if (const std::int32_t id = p.bias_ids()[i]; id >= 0 && id < row.vocabulary)
        out[id] += p.biases()[i];
    __syncthreads();
    process_values(row, out, 1.F, 0.F, out);
  } else {
    process_values(row, row.raw, row.scale, row.shift, out);
  }
  if (p.no_repeat_ngram_size > 0 || p.word_count > 0) {
    ban_repeats(row, out);
    ban_words(row, out);
    __syncthreads();
  }
  if (row.holds_back()) hold_back(row, out);
}

}  // namespace tenon::cuda
