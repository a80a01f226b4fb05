// The sampler on the device: a block a sequence. Log-probabilities are of the raw logits; then
// penalties, mask, end ids held back; then, unless greedy, temperature, top_k, top_p, min_p and a
// draw, in the order and with the random numbers of backends/cpu/sampler.h.
//
// Nothing is sorted. Weights become 40-bit integers, so that their sums depend on no order; the
// token that a rank or a mass falls on is found by bisecting the logit's bits, and among equal
// logits by bisecting the id.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/cuda_api.h"
#include "backends/cuda/device/philox.h"
#include "backends/cuda/device/sampling_state.h"

namespace tenon::cuda {
namespace {

constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / 32;
constexpr float kOne = 1099511627776.F;  // 2^40: weight 1
using Mass = unsigned long long;

__device__ float never() { return -INFINITY; }

// Order of floats as order of integers.
__device__ std::uint32_t key_of(float x) {
  const std::uint32_t bits = __float_as_uint(x);
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}
__device__ float value_of(std::uint32_t key) {
  return __uint_as_float((key & 0x80000000U) != 0 ? key & 0x7FFFFFFFU : ~key);
}

struct Shared {
  Mass mass[kWarps];
  Mass total;
  float value[kWarps];
  std::int32_t token[kWarps];
  std::int32_t count;
};

__device__ Mass block_total(Mass x, Shared& shared) {
  for (int lane = 16; lane > 0; lane /= 2) x += __shfl_xor_sync(0xFFFFFFFFU, x, lane);
  __syncthreads();
  if (threadIdx.x % 32 == 0) shared.mass[threadIdx.x / 32] = x;
  __syncthreads();
  Mass total = 0;
  for (int warp = 0; warp < kWarps; ++warp) total += shared.mass[warp];
  return total;
}

struct Best {
  float value;
  std::int32_t token;  // -1: none above -infinity
};

__device__ bool before(const Best& a, const Best& b) {
  if (b.token < 0) return a.token >= 0;
  return a.token >= 0 && (a.value > b.value || (a.value == b.value && a.token < b.token));
}

__device__ Best block_best(Best best, Shared& shared) {
  for (int lane = 16; lane > 0; lane /= 2) {
    const Best other{__shfl_xor_sync(0xFFFFFFFFU, best.value, lane),
                     __shfl_xor_sync(0xFFFFFFFFU, best.token, lane)};
    if (before(other, best)) best = other;
  }
  __syncthreads();
  if (threadIdx.x % 32 == 0) {
    shared.value[threadIdx.x / 32] = best.value;
    shared.token[threadIdx.x / 32] = best.token;
  }
  __syncthreads();
  best = {shared.value[0], shared.token[0]};
  for (int warp = 1; warp < kWarps; ++warp) {
    const Best other{shared.value[warp], shared.token[warp]};
    if (before(other, best)) best = other;
  }
  return best;
}

// The best token that stands after `last` in the order (logit falling, id rising).
__device__ Best next_best(const float* logits, std::int32_t vocabulary, const Best* last,
                          Shared& shared) {
  Best best{never(), -1};
  for (std::int32_t i = threadIdx.x; i < vocabulary; i += kThreads) {
    const Best here{logits[i], i};
    if (!(here.value > never())) continue;  // NaN too
    if (last != nullptr && !before(*last, here)) continue;
    if (before(here, best)) best = here;
  }
  return block_best(best, shared);
}

// Tokens that a draw may fall on: key in the upper half, id in the lower.
struct Candidates {
  const std::uint64_t* items;
  std::int32_t count;
  float largest;
  float inverse;  // of the temperature
  __device__ std::uint32_t key(std::int32_t i) const {
    return static_cast<std::uint32_t>(items[i] >> 32);
  }
  __device__ std::int32_t token(std::int32_t i) const {
    return static_cast<std::int32_t>(items[i] & 0xFFFFFFFFU);
  }
  __device__ float weight(std::uint32_t k) const { return expf((value_of(k) - largest) * inverse); }
  __device__ Mass mass(std::uint32_t k) const { return __float2ull_rz(weight(k) * kOne); }
};

// The first tokens in order: all with a greater key, and `ties` with this one, lowest ids first.
struct Prefix {
  std::uint32_t key = 0;
  Mass ties = ~Mass{0};
};

enum class Measure { kCount, kMass };

// Measure of all candidates with a key of at least `key`.
template <Measure kMeasure>
__device__ Mass measure_from(const Candidates& c, std::uint32_t key, Shared& shared) {
  Mass sum = 0;
  for (std::int32_t i = threadIdx.x; i < c.count; i += kThreads)
    if (c.key(i) >= key) sum += kMeasure == Measure::kCount ? Mass{1} : c.mass(c.key(i));
  return block_total(sum, shared);
}

// The greatest key from which on the measure reaches `wanted` (> 0); 0 where it never does.
template <Measure kMeasure>
__device__ std::uint32_t reach(const Candidates& c, Mass wanted, Shared& shared) {
  std::uint32_t key = 0;
  for (std::uint32_t bit = 0x80000000U; bit != 0; bit >>= 1)
    if (measure_from<kMeasure>(c, key | bit, shared) >= wanted) key |= bit;
  return key;
}

__device__ Prefix first_of_count(const Candidates& c, Mass wanted, Shared& shared) {
  Prefix out;
  if (wanted >= static_cast<Mass>(c.count)) return out;
  out.key = reach<Measure::kCount>(c, wanted, shared);
  out.ties = wanted - measure_from<Measure::kCount>(c, out.key + 1, shared);
  return out;
}

// The shortest prefix within `outer` whose mass reaches `wanted`.
__device__ Prefix first_of_mass(const Candidates& c, Mass wanted, const Prefix& outer,
                                Shared& shared) {
  const std::uint32_t key = reach<Measure::kMass>(c, wanted, shared);
  if (key < outer.key || key == 0) return outer;
  const Mass above = measure_from<Measure::kMass>(c, key + 1, shared);
  const Mass each = c.mass(key);
  if (each == 0) return outer;
  Prefix out{key, (wanted - above + each - 1) / each};
  if (out.ties == 0) out.ties = 1;
  if (key == outer.key && out.ties > outer.ties) out.ties = outer.ties;
  return out;
}

// Mass of the prefix's tokens at least min_p times as likely as the likeliest.
__device__ Mass mass_of(const Candidates& c, const Prefix& prefix, float min_p, Shared& shared) {
  Mass sum = 0;
  Mass ties = 0;
  for (std::int32_t i = threadIdx.x; i < c.count; i += kThreads) {
    const std::uint32_t key = c.key(i);
    if (key < prefix.key || c.weight(key) < min_p) continue;
    if (key == prefix.key)
      ++ties;
    else
      sum += c.mass(key);
  }
  sum = block_total(sum, shared);
  ties = block_total(ties, shared);
  if (ties > prefix.ties) ties = prefix.ties;
  return sum + ties * (ties > 0 ? c.mass(prefix.key) : 0);
}

// The id of rank `rank` (0: the lowest) among candidates with this key.
__device__ std::int32_t tie_of_rank(const Candidates& c, std::uint32_t key, Mass rank,
                                    Shared& shared) {
  std::int32_t id = 0;  // the greatest with at most `rank` ties below it
  for (std::int32_t bit = 1 << 30; bit != 0; bit >>= 1) {
    Mass below = 0;
    for (std::int32_t i = threadIdx.x; i < c.count; i += kThreads)
      if (c.key(i) == key && c.token(i) < (id | bit)) ++below;
    if (block_total(below, shared) <= rank) id |= bit;
  }
  return id;
}

// Where the masses lie end to end in order, the token whose share holds `target`.
__device__ std::int32_t token_at(const Candidates& c, Mass target, Shared& shared) {
  const std::uint32_t key = reach<Measure::kMass>(c, target + 1, shared);
  const Mass above = measure_from<Measure::kMass>(c, key + 1, shared);
  const Mass each = c.mass(key);
  return tie_of_rank(c, key, each == 0 ? 0 : (target - above) / each, shared);
}

__device__ std::int32_t draw_ordered(const SlotSampling& p, const float* logits,
                                     std::int32_t vocabulary, float largest, double u,
                                     std::uint64_t* items, Shared& shared) {
  const float inverse = 1.F / p.temperature;
  if (threadIdx.x == 0) shared.count = 0;
  __syncthreads();
  for (std::int32_t i = threadIdx.x; i < vocabulary; i += kThreads) {
    const float x = logits[i];
    // Lighter tokens have no mass: a draw never falls on them.
    if (!(x > never()) || expf((x - largest) * inverse) * kOne < 1.F) continue;
    items[atomicAdd(&shared.count, 1)] =
        (static_cast<std::uint64_t>(key_of(x)) << 32) | static_cast<std::uint32_t>(i);
  }
  __syncthreads();
  const Candidates c{items, shared.count, largest, inverse};
  Prefix kept;
  if (p.top_k > 0) kept = first_of_count(c, static_cast<Mass>(p.top_k), shared);
  if (p.top_p > 0.F && p.top_p < 1.F) {
    const Mass all = mass_of(c, kept, 0.F, shared);
    const auto wanted =
        static_cast<Mass>(ceil(static_cast<double>(p.top_p) * static_cast<double>(all)));
    kept = first_of_mass(c, wanted < 1 ? 1 : wanted, kept, shared);
  }
  const Mass total = mass_of(c, kept, p.min_p, shared);
  auto target = static_cast<Mass>(u * static_cast<double>(total));
  if (target >= total) target = total - 1;
  return token_at(c, target, shared);
}

// No order is needed: the tokens end to end by id.
__device__ std::int32_t draw_by_id(const SlotSampling& p, const float* logits,
                                   std::int32_t vocabulary, float largest, double u,
                                   Shared& shared) {
  const float inverse = 1.F / p.temperature;
  const auto mass_at = [&](std::int32_t i) -> Mass {
    const float x = logits[i];
    if (!(x > never())) return 0;
    const float weight = expf((x - largest) * inverse);
    return weight < p.min_p ? 0 : __float2ull_rz(weight * kOne);
  };
  // Each thread has a run of ids.
  const std::int32_t run = (vocabulary + kThreads - 1) / kThreads;
  const std::int32_t first = min(static_cast<std::int32_t>(threadIdx.x) * run, vocabulary);
  const std::int32_t last = min(first + run, vocabulary);
  Mass mine = 0;
  for (std::int32_t i = first; i < last; ++i) mine += mass_at(i);
  Mass scan = mine;  // of the warp, inclusive
  for (int lane = 1; lane < 32; lane *= 2) {
    const Mass other = __shfl_up_sync(0xFFFFFFFFU, scan, lane);
    if (static_cast<int>(threadIdx.x % 32) >= lane) scan += other;
  }
  __syncthreads();
  if (threadIdx.x % 32 == 31) shared.mass[threadIdx.x / 32] = scan;
  if (threadIdx.x == 0) shared.count = -1;
  __syncthreads();
  Mass below = 0;
  Mass total = 0;
  for (int warp = 0; warp < kWarps; ++warp) {
    if (warp < static_cast<int>(threadIdx.x / 32)) below += shared.mass[warp];
    total += shared.mass[warp];
  }
  const Mass begin = below + scan - mine;
  auto target = static_cast<Mass>(u * static_cast<double>(total));
  if (target >= total) target = total - 1;
  if (target >= begin && target < begin + mine) {
    Mass at = begin;
    for (std::int32_t i = first; i < last; ++i) {
      at += mass_at(i);
      if (at > target) {
        shared.count = i;
        break;
      }
    }
  }
  __syncthreads();
  return shared.count;
}

__device__ bool has_penalties(const SlotSampling& p) {
  return p.repetition_penalty != 1.F || p.presence_penalty != 0.F || p.frequency_penalty != 0.F;
}

// Logits after penalties and mask.
__device__ void process(const SampleArguments& a, const SlotSampling& p, std::int32_t s,
                        std::int32_t slot, const float* logits, float* out) {
  const TokenUse* used = a.slots.used + static_cast<std::int64_t>(slot) * a.slots.vocabulary;
  const bool penalties = has_penalties(p);
  const std::int32_t mask = a.mask_offsets == nullptr ? -1 : a.mask_offsets[s];
  for (std::int32_t i = threadIdx.x; i < a.slots.vocabulary; i += kThreads) {
    float x = logits[i];
    const TokenUse use = penalties ? used[i] : 0U;
    if (use != 0) {
      x = x < 0.F ? x * p.repetition_penalty : x / p.repetition_penalty;
      const TokenUse outputs = use & ~kInPrompt;
      if (outputs > 0) x -= p.presence_penalty + p.frequency_penalty * static_cast<float>(outputs);
    }
    if (mask >= 0) {
      const std::int32_t word = i / 32;
      if (word >= a.mask_words[s] || ((a.masks[mask + word] >> (i % 32)) & 1U) == 0) x = never();
    }
    out[i] = x;
  }
  __syncthreads();
}

// End ids go to -infinity, unless that leaves nothing (a grammar that wants the end now).
__device__ void hold_back(const SlotSampling& p, float* logits, std::int32_t vocabulary,
                          Shared& shared) {
  __shared__ float saved[kMaxEndIds];
  const auto is_first = [&](std::int32_t i) {
    for (std::int32_t j = 0; j < i; ++j)
      if (p.end_ids[j] == p.end_ids[i]) return false;
    return p.end_ids[i] >= 0 && p.end_ids[i] < vocabulary;
  };
  const auto i = static_cast<std::int32_t>(threadIdx.x);
  if (i < p.end_count && is_first(i)) {
    saved[i] = logits[p.end_ids[i]];
    logits[p.end_ids[i]] = never();
  }
  __syncthreads();
  if (next_best(logits, vocabulary, nullptr, shared).token >= 0) return;
  if (i < p.end_count && is_first(i)) logits[p.end_ids[i]] = saved[i];
  __syncthreads();
}

__device__ void add_logprobs(const SlotSampling& p, const float* logits, std::int32_t vocabulary,
                             SampledSequence& result, std::int32_t token, Shared& shared) {
  const Best likeliest = next_best(logits, vocabulary, nullptr, shared);
  Mass mass = 0;
  for (std::int32_t i = threadIdx.x; i < vocabulary; i += kThreads)
    if (logits[i] > never()) mass += __float2ull_rz(expf(logits[i] - likeliest.value) * kOne);
  mass = block_total(mass, shared);
  const auto log_total =
      static_cast<float>(static_cast<double>(likeliest.value) +
                         log(static_cast<double>(mass) / static_cast<double>(kOne)));
  if (threadIdx.x == 0) {
    result.logprob = logits[token] - log_total;
    result.top_count = 0;
  }
  Best last{};
  for (std::int32_t n = 0; n < p.logprobs && n < kMaxTopLogprobs; ++n) {
    last = next_best(logits, vocabulary, n == 0 ? nullptr : &last, shared);
    if (last.token < 0) break;
    if (threadIdx.x == 0) {
      result.top_tokens[n] = last.token;
      result.top_logprobs[n] = last.value - log_total;
      result.top_count = n + 1;
    }
  }
}

__global__ void __launch_bounds__(kThreads) sample_kernel(SampleArguments a) {
  __shared__ Shared shared;
  const auto s = static_cast<std::int32_t>(blockIdx.x);
  SampledSequence& result = a.results[s];
  const std::int32_t row = a.view.sample_row[s];
  const std::int32_t slot = a.view.slots[s];
  if (row < 0 || slot < 0) {
    if (threadIdx.x == 0) result.token = -1;
    return;
  }
  if (threadIdx.x == 0) result.top_count = -1;
  const std::int32_t vocabulary = a.slots.vocabulary;
  const SlotSampling& p = a.slots.sampling[slot];
  const float* raw = a.logits + static_cast<std::int64_t>(row) * vocabulary;
  if (a.logit_offsets != nullptr && a.logit_offsets[s] >= 0)
    raw = a.own_logits + a.logit_offsets[s];
  const bool masked = a.mask_offsets != nullptr && a.mask_offsets[s] >= 0;
  const bool holds = a.slots.output_count[slot] < p.min_tokens && p.end_count > 0;
  const float* logits = raw;
  if (has_penalties(p) || masked || holds) {
    float* const own = a.processed + static_cast<std::int64_t>(s) * vocabulary;
    process(a, p, s, slot, raw, own);
    if (holds) hold_back(p, own, vocabulary, shared);
    logits = own;
  }
  const Best best = next_best(logits, vocabulary, nullptr, shared);
  std::int32_t token = best.token;
  const bool greedy = p.temperature < 1e-6F || p.top_k == 1;
  if (token >= 0 && !greedy) {
    // The new token's place in its sequence, whatever part of the sequence this step held.
    const std::int32_t at = a.view.logit_rows[row];
    const std::int64_t position =
        std::int64_t{a.view.cached_tokens[s]} + at - a.view.token_begin[s] + 1;
    const double u = uniform(p.seed, static_cast<std::uint32_t>(p.sample_index),
                             static_cast<std::uint64_t>(position));
    const bool ordered = p.top_k > 0 || (p.top_p > 0.F && p.top_p < 1.F);
    std::uint64_t* const items = a.candidates + static_cast<std::int64_t>(s) * vocabulary;
    token = ordered ? draw_ordered(p, logits, vocabulary, best.value, u, items, shared)
                    : draw_by_id(p, logits, vocabulary, best.value, u, shared);
  }
  if (token >= 0 && p.logprobs >= 0) add_logprobs(p, raw, vocabulary, result, token, shared);
  if (threadIdx.x != 0) return;
  result.token = token;
  if (token < 0) return;
  a.slots.last_token[slot] = token;
  ++a.slots.output_count[slot];
  ++a.slots.used[static_cast<std::int64_t>(slot) * vocabulary + token];
}

}  // namespace

void launch_sampler(const SampleArguments& arguments, cudaStream_t stream) {
  if (arguments.sequences == 0) return;
  sample_kernel<<<static_cast<unsigned>(arguments.sequences), kThreads, 0, stream>>>(arguments);
  check_launch("sampler");
}

}  // namespace tenon::cuda
