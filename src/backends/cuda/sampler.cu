// The sampler on the device: a block a sequence. Log-probabilities are of the raw logits; then the
// logits processors; then, unless greedy, a draw with the random numbers of backends/cpu/philox.h.
// A beam's row is listed, not drawn from. The meaning is that of backends/cpu/sampler.h.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/cuda_api.h"
#include "backends/cuda/device/philox.h"
#include "backends/cuda/device/sampler_draw.cuh"
#include "backends/cuda/device/sampler_process.cuh"

namespace tenon::cuda {
namespace {

// log of the sum of exp(x * inverse)
__device__ float log_sum(const float* logits, std::int32_t vocabulary, float inverse,
                         SamplerShared& shared) {
  const float largest = best_of(logits, vocabulary, shared).value;
  Mass mass = 0;
  for (std::int32_t i = threadIdx.x; i < vocabulary; i += kSamplerThreads) {
    const float weight = expf((logits[i] - largest) * inverse);
    if (weight > 0.F) mass += __float2ull_rz(weight * kWeightOne);
  }
  mass = block_total(mass, shared);
  return static_cast<float>(static_cast<double>(largest) * static_cast<double>(inverse) +
                            log(static_cast<double>(mass) / static_cast<double>(kWeightOne)));
}

// The `wanted` largest values, less `log_total`, largest first. Gives how many there are.
__device__ std::int32_t list_top(const float* values, std::int32_t vocabulary, std::int32_t wanted,
                                 float log_total, std::uint64_t* unordered, ListedToken* listed,
                                 SamplerShared& shared) {
  const Head head = head_of_count(values, vocabulary, static_cast<Mass>(wanted), shared);
  __syncthreads();
  if (threadIdx.x == 0) shared.found = 0;
  __syncthreads();
  for (std::int32_t i = threadIdx.x; i < vocabulary; i += kSamplerThreads) {
    const std::uint32_t key = key_of(values[i]);
    if (!(values[i] > never()) || !head.holds(key, i)) continue;
    unordered[atomicAdd(&shared.found, 1)] =
        (std::uint64_t{key} << 32) | ~static_cast<std::uint32_t>(i);
  }
  __syncthreads();
  const std::int32_t count = shared.found;
  for (std::int32_t i = threadIdx.x; i < count; i += kSamplerThreads) {
    const std::uint64_t mine = unordered[i];
    std::int32_t rank = 0;
    for (std::int32_t j = 0; j < count; ++j) rank += unordered[j] > mine ? 1 : 0;
    const auto token = static_cast<std::int32_t>(~static_cast<std::uint32_t>(mine));
    listed[rank] = {token, values[token] - log_total};
  }
  return count;
}

__device__ SamplerRow row_of(const SampleArguments& a, std::int32_t s, std::int32_t slot) {
  const std::int32_t vocabulary = a.slots.vocabulary;
  SamplerRow row{};
  row.p = &a.slots.sampling[slot];
  row.raw = a.logits + static_cast<std::int64_t>(a.view.sample_row[s]) * vocabulary;
  if (a.logit_offsets != nullptr && a.logit_offsets[s] >= 0)
    row.raw = a.own_logits + a.logit_offsets[s];
  row.scale = 1.F;
  row.used = a.slots.used + static_cast<std::int64_t>(slot) * vocabulary;
  row.order = a.slots.order + static_cast<std::int64_t>(slot) * a.slots.order_stride;
  row.counts = a.slots.counts[slot];
  if (a.mask_offsets != nullptr && a.mask_offsets[s] >= 0) {
    row.mask = a.masks + a.mask_offsets[s];
    row.mask_words = a.mask_words[s];
  }
  row.vocabulary = vocabulary;
  return row;
}

__device__ void record(const SamplerSlots& slots, std::int32_t slot, std::int32_t token) {
  const SlotSampling& p = slots.sampling[slot];
  SlotCounts& counts = slots.counts[slot];
  slots.last_token[slot] = token;
  ++counts.outputs;
  counts.since_reset = token == p.top_p_reset_id ? 0 : counts.since_reset + 1;
  if (p.keeps_use != 0) ++slots.used[static_cast<std::int64_t>(slot) * slots.vocabulary + token];
  if (p.keeps_order != 0 && counts.order < slots.order_stride)
    slots.order[static_cast<std::int64_t>(slot) * slots.order_stride + counts.order++] = token;
}

__global__ void __launch_bounds__(kSamplerThreads) sample_kernel(SampleArguments a) {
  __shared__ SamplerShared shared;
  const auto s = static_cast<std::int32_t>(blockIdx.x);
  SampledSequence& result = a.results[s];
  const std::int32_t slot = a.view.slots[s];
  if (a.view.sample_row[s] < 0 || slot < 0) {
    if (threadIdx.x == 0) result = SampledSequence{};
    return;
  }
  SamplerRow row = row_of(a, s, slot);
  const SlotSampling& p = *row.p;
  const std::int32_t vocabulary = row.vocabulary;
  float* const own = a.processed + static_cast<std::int64_t>(s) * vocabulary;
  const std::int32_t top_begin = a.top_begin == nullptr ? 0 : a.top_begin[s];

  if (p.beam != 0) {
    row.scale = p.temperature < 1e-6F ? 1.F : 1.F / p.temperature;
    row.shift = log_sum(row.raw, vocabulary, row.scale, shared);
    process(row, own);
    const std::int32_t count = list_top(own, vocabulary, p.top_count, 0.F, a.unordered + top_begin,
                                        a.listed + top_begin, shared);
    if (threadIdx.x == 0) result = {-1, 0.F, top_begin, count};
    return;
  }

  const float* logits = row.raw;
  if (row.has_processors()) {
    process(row, own);
    logits = own;
  }
  const Best best = best_of(logits, vocabulary, shared);
  std::int32_t token = best.token;
  if (token >= 0 && p.temperature >= 1e-6F && p.top_k != 1) {
    // The new token's place in its sequence, whatever part of the sequence this step held.
    const std::int32_t at = a.view.logit_rows[a.view.sample_row[s]];
    const std::int64_t position =
        std::int64_t{a.view.cached_tokens[s]} + at - a.view.token_begin[s] + 1;
    const double u = uniform(p.seed, static_cast<std::uint32_t>(p.sample_index),
                             static_cast<std::uint64_t>(position));
    token = draw(p, row.counts, logits, vocabulary, best.value, u, shared);
  }
  SampledSequence out;
  out.token = token;
  if (token >= 0 && p.logprobs != 0) {
    const float log_total = log_sum(row.raw, vocabulary, 1.F, shared);
    out.logprob = row.raw[token] - log_total;
    out.top_begin = top_begin;
    out.top_count = p.top_count == 0
                        ? 0
                        : list_top(row.raw, vocabulary, p.top_count, log_total,
                                   a.unordered + top_begin, a.listed + top_begin, shared);
  }
  if (threadIdx.x != 0) return;
  result = out;
  if (token >= 0) record(a.slots, slot, token);
}

}  // namespace

void launch_sampler(const SampleArguments& arguments, cudaStream_t stream) {
  if (arguments.sequences == 0) return;
  sample_kernel<<<static_cast<unsigned>(arguments.sequences), kSamplerThreads, 0, stream>>>(
      arguments);
  check_launch("sampler");
}

}  // namespace tenon::cuda
