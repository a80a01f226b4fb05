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

// log of the sum of exp(x * inverse); `largest` is the largest x
__device__ float log_sum(const LogitRow& row, float largest, float inverse, SamplerShared& shared) {
  Mass mass = 0;
  visit_own(row,
            [&](std::int32_t, float x) { mass += mass_of_weight(expf((x - largest) * inverse)); });
  mass = block_total(mass, shared);
  return static_cast<float>(static_cast<double>(largest) * static_cast<double>(inverse) +
                            log(static_cast<double>(mass) / static_cast<double>(kWeightOne)));
}

// The tokens of the row that `head` holds, as many as there are, the best first, to `listed`.
__device__ std::int32_t list_head(const LogitRow& row, const Head& head, float log_total,
                                  std::uint64_t* unordered, ListedToken* listed,
                                  SamplerShared& shared) {
  __syncthreads();
  if (threadIdx.x == 0) shared.found = 0;
  __syncthreads();
  visit_own<1>(row, [&](std::int32_t id, float x) {
    const std::uint32_t key = key_of(x);
    if (x > never() && head.holds(key, id))
      unordered[atomicAdd(&shared.found, 1)] = entry_of(key, id);
  });
  __syncthreads();
  const std::int32_t count = shared.found;
  for (std::int32_t i = threadIdx.x; i < count; i += kSamplerThreads) {
    const Mass mine = unordered[i];
    std::int32_t rank = 0;
    for (std::int32_t j = 0; j < count; ++j) rank += unordered[j] > mine ? 1 : 0;
    listed[rank] = {id_of(mine), value_of_entry(mine) - log_total};
  }
  return count;
}

// The `wanted` largest values, less `log_total`, largest first. Gives how many there are. `own` is
// this thread's best of the row, `largest` the best's value.
__device__ std::int32_t list_top(const LogitRow& row, const Best& own, float largest,
                                 std::int32_t wanted, float log_total, std::uint64_t* unordered,
                                 ListedToken* listed, SamplerShared& shared) {
  if (wanted <= kSurelyListed) {
    const std::int32_t count =
        gather<1>(row, floor_of_rank(own, wanted), own, false, [](const float4&) {}, shared);
    if (count <= kSamplerThreads) {
      const Mass mine = sorted_entry(count, shared);
      const std::int32_t kept = min(count, wanted);
      if (static_cast<std::int32_t>(threadIdx.x) < kept)
        listed[threadIdx.x] = {id_of(mine), value_of_entry(mine) - log_total};
      return kept;
    }
  }
  const Head head = head_of_count(row, largest, static_cast<Mass>(wanted), shared);
  return list_head(row, head, log_total, unordered, listed, shared);
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

__device__ float* processed_row(const SampleArguments& a, std::int32_t s) {
  return a.processed + static_cast<std::int64_t>(s) * a.slots.vocabulary;
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

// The new token's place in its sequence, whatever part of the sequence this step held.
__device__ std::int64_t position_of(const StepView& view, std::int32_t s) {
  const std::int32_t at = view.logit_rows[view.sample_row[s]];
  return std::int64_t{view.cached_tokens[s]} + at - view.token_begin[s] + 1;
}

// The likeliest token of the row after its processors, or one drawn; -1: nothing may be drawn.
__device__ __forceinline__ std::int32_t sampled_token(const SamplerRow& row, const LogitRow& logits,
                                                      const Best& mine, const Best& best,
                                                      std::int64_t position,
                                                      SamplerShared& shared) {
  const SlotSampling& p = *row.p;
  if (best.token < 0 || p.temperature < 1e-6F || p.top_k == 1) return best.token;
  const double u = uniform(p.seed, static_cast<std::uint32_t>(p.sample_index),
                           static_cast<std::uint64_t>(position));
  return draw({p, current_top_p(p, row.counts), u}, logits, mine, best.value, shared);
}

// Of a beam its best continuations, else log-probabilities: of the token, and of the likeliest.
// `mine` and `best` are of the row as it came, or after its processors where it has such.
__device__ __forceinline__ void list_likeliest(const SampleArguments& a, std::int32_t s,
                                               std::int32_t slot, Best mine, Best best,
                                               SampledSequence& out, SamplerShared& shared) {
  SamplerRow row = row_of(a, s, slot);
  const SlotSampling& p = *row.p;
  const bool beam = p.beam != 0;
  LogitRow logits(row.raw, row.vocabulary);
  if (!beam && row.has_processors()) {
    mine = best_of_own(logits);
    best = block_best(mine, shared);
  }
  row.scale = beam && p.temperature >= 1e-6F ? 1.F / p.temperature : 1.F;
  float log_total = log_sum(logits, best.value, row.scale, shared);
  if (beam) {
    row.shift = log_total;
    log_total = 0.F;
    float* const processed = processed_row(a, s);
    process(row, processed);
    logits = LogitRow(processed, row.vocabulary);
    mine = best_of_own(logits);
    best = block_best(mine, shared);
  } else {
    out.logprob = row.raw[out.token] - log_total;
  }
  out.top_begin = a.top_begin == nullptr ? 0 : a.top_begin[s];
  out.top_count = 0;
  if (p.top_count > 0)
    out.top_count = list_top(logits, mine, best.value, p.top_count, log_total,
                             a.unordered + out.top_begin, a.listed + out.top_begin, shared);
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
  const SamplerRow row = row_of(a, s, slot);
  const std::int64_t position = position_of(a.view, s);  // on its way while the row is read
  const bool beam = row.p->beam != 0;
  const bool changes = !beam && row.has_processors();
  if (changes) process(row, processed_row(a, s));
  const LogitRow logits(changes ? processed_row(a, s) : row.raw, row.vocabulary);
  const Best mine = best_of_own(logits);
  const Best best = block_best(mine, shared);
  SampledSequence out;
  if (!beam) out.token = sampled_token(row, logits, mine, best, position, shared);
  if (beam || (out.token >= 0 && row.p->logprobs != 0))
    list_likeliest(a, s, slot, mine, best, out, shared);
  if (threadIdx.x != 0) return;
  result = out;
  if (out.token >= 0) record(a.slots, slot, out.token);
}

}  // namespace

void launch_sampler(const SampleArguments& arguments, cudaStream_t stream) {
  if (arguments.sequences == 0) return;
  sample_kernel<<<static_cast<unsigned>(arguments.sequences), kSamplerThreads, 0, stream>>>(
      arguments);
  check_launch("sampler");
}

}  // namespace tenon::cuda
