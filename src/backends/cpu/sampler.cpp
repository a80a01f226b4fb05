// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "backends/cpu/philox.h"

namespace tenon::cpu {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

bool before(const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
}

// A temperature whose inverse would blow up leaves one token anyway.
bool is_greedy(const SamplingParams& params) {
  return params.temperature < 1e-6F || params.top_k == 1;
}

bool has_penalties(const SamplingParams& params) {
  return params.repetition_penalty != 1.F || params.presence_penalty != 0.F ||
         params.frequency_penalty != 0.F;
}

bool holds_back(const SamplingState& state) {
  return state.output_count < state.params.min_tokens && !state.end_ids.empty();
}

float largest_of(std::span<const float> logits) {
  float largest = kNever;
  for (const float x : logits) largest = x > largest ? x : largest;  // skips NaN
  return largest;
}

void apply_penalties(const SamplingState& state, std::span<float> logits) {
  const SamplingParams& params = state.params;
  for (const auto& [token, use] : state.used) {
    if (token < 0 || static_cast<std::size_t>(token) >= logits.size()) continue;
    float& logit = logits[static_cast<std::size_t>(token)];
    logit = logit < 0.F ? logit * params.repetition_penalty : logit / params.repetition_penalty;
    if (use.outputs > 0)
      logit -= params.presence_penalty + params.frequency_penalty * static_cast<float>(use.outputs);
  }
}

void apply_mask(std::span<const std::uint32_t> allowed, std::span<float> logits) {
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const std::size_t word = i / 32;
    if (word >= allowed.size() || ((allowed[word] >> (i % 32)) & 1U) == 0) logits[i] = kNever;
  }
}

// End ids go to -infinity, unless that leaves nothing (a grammar that wants the end now).
void hold_back(const SamplingState& state, std::span<float> logits) {
  std::vector<std::pair<std::size_t, float>> saved;
  for (const std::int32_t id : state.end_ids) {
    if (id < 0 || static_cast<std::size_t>(id) >= logits.size()) continue;
    const auto at = static_cast<std::size_t>(id);
    saved.emplace_back(at, logits[at]);
    logits[at] = kNever;
  }
  if (largest_of(logits) > kNever) return;
  for (auto it = saved.rbegin(); it != saved.rend(); ++it) logits[it->first] = it->second;
}

// Where [0, total) is cut into runs as long as the weights, the token whose run holds `target`.
template <class Weight, class Token>
std::int32_t walk(std::size_t count, double target, Weight weight, Token token) {
  double sum = 0.0;
  std::int32_t last = -1;
  for (std::size_t i = 0; i < count; ++i) {
    const double w = weight(i);
    if (!(w > 0.0)) continue;
    last = token(i);
    sum += w;
    if (sum > target) return last;
  }
  return last;  // rounding left the target just beyond the sum
}

// Sum of exp((x - largest) * inverse), written to `weights` where that is not null. NaN counts 0.
double sum_of_weights(std::span<const float> logits, float largest, float inverse, float* weights,
                      const IsaKernels* isa) {
  if (isa != nullptr)
    return isa->sum_exp(logits.data(), largest, inverse, weights,
                        static_cast<std::int64_t>(logits.size()));
  double total = 0.0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const float weight = logits[i] > kNever ? std::exp((logits[i] - largest) * inverse) : 0.F;
    if (weights != nullptr) weights[i] = weight;
    total += static_cast<double>(weight);
  }
  return total;
}

// No order is needed: every token at least min_p times as likely as the likeliest.
std::int32_t draw_unordered(std::span<float> logits, const SamplingParams& params, double u,
                            const IsaKernels* isa) {
  const float largest = largest_of(logits);
  if (!(largest > kNever)) return -1;
  double total = sum_of_weights(logits, largest, 1.F / params.temperature, logits.data(), isa);
  if (params.min_p > 0.F) {
    total = 0.0;
    for (float& weight : logits) {
      if (weight < params.min_p) weight = 0.F;
      total += static_cast<double>(weight);
    }
  }
  return walk(
      logits.size(), u * total, [&](std::size_t i) { return static_cast<double>(logits[i]); },
      [](std::size_t i) { return static_cast<std::int32_t>(i); });
}

struct Weighted {
  std::span<Candidate> kept;  // logit replaced by weight, largest first
  double total = 0.0;
};

void to_weights(std::span<Candidate> candidates, float largest, float inverse) {
  for (Candidate& c : candidates) c.logit = std::exp((c.logit - largest) * inverse);
}

// The shortest run of the most likely tokens whose weight reaches `mass`, then min_p.
Weighted cut(std::span<Candidate> candidates, double mass, float min_p) {
  Weighted out;
  std::size_t kept = 0;
  for (const Candidate& c : candidates) {
    if (kept > 0 && (out.total >= mass || c.logit < min_p)) break;
    out.total += static_cast<double>(c.logit);
    ++kept;
  }
  out.kept = candidates.first(kept);
  return out;
}

// top_p without top_k: most of the weight lies on few tokens, so ever longer runs of the likeliest
// are looked at until their weight suffices. The whole vocabulary is sorted only where it is flat.
Weighted nucleus(std::span<const float> logits, const SamplingParams& params, float largest,
                 const SamplerScratch& scratch) {
  const float inverse = 1.F / params.temperature;
  const double mass = static_cast<double>(params.top_p) *
                      sum_of_weights(logits, largest, inverse, nullptr, scratch.isa);
  for (std::int64_t count = 256;; count *= 8) {
    const auto candidates = select_top(logits, count, scratch.candidates);
    const bool all = static_cast<std::int64_t>(candidates.size()) < count;
    to_weights(candidates, largest, inverse);
    const Weighted out = cut(candidates, mass, params.min_p);
    if (all || out.kept.size() < candidates.size() || out.total >= mass) return out;
  }
}

std::int32_t draw_ordered(std::span<const float> logits, const SamplingParams& params, double u,
                          const SamplerScratch& scratch) {
  const float largest = largest_of(logits);
  if (!(largest > kNever)) return -1;
  const bool nucleus_wanted = params.top_p > 0.F && params.top_p < 1.F;
  Weighted weighted;
  if (params.top_k > 0) {
    const auto candidates = select_top(logits, params.top_k, scratch.candidates);
    to_weights(candidates, largest, 1.F / params.temperature);
    double total = 0.0;
    for (const Candidate& c : candidates) total += static_cast<double>(c.logit);
    const double mass = nucleus_wanted ? static_cast<double>(params.top_p) * total
                                       : std::numeric_limits<double>::infinity();
    weighted = cut(candidates, mass, params.min_p);
  } else {
    weighted = nucleus(logits, params, largest, scratch);
  }
  return walk(
      weighted.kept.size(), u * weighted.total,
      [&](std::size_t i) { return static_cast<double>(weighted.kept[i].logit); },
      [&](std::size_t i) { return weighted.kept[i].token; });
}

// Out of scratch.logits.
std::int32_t choose(const SamplingState& state, std::int64_t position,
                    const SamplerScratch& scratch) {
  const SamplingParams& params = state.params;
  if (is_greedy(params)) return argmax(scratch.logits);
  const double u = uniform(params.seed.value_or(0), static_cast<std::uint32_t>(state.sample_index),
                           static_cast<std::uint64_t>(position));
  const bool ordered = params.top_k > 0 || (params.top_p > 0.F && params.top_p < 1.F);
  return ordered ? draw_ordered(scratch.logits, params, u, scratch)
                 : draw_unordered(scratch.logits, params, u, scratch.isa);
}

void add_logprobs(std::span<const float> logits, std::int32_t top, const SamplerScratch& scratch,
                  SampledToken& out) {
  const float largest = largest_of(logits);
  const double total = sum_of_weights(logits, largest, 1.F, nullptr, scratch.isa);
  const auto log_total = static_cast<float>(static_cast<double>(largest) + std::log(total));
  out.logprob = logits[static_cast<std::size_t>(out.token)] - log_total;
  if (top <= 0) return;
  for (const Candidate& c : select_top(logits, top, scratch.candidates))
    out.top.push_back({c.token, c.logit - log_total});
}

}  // namespace

std::span<Candidate> select_top(std::span<const float> logits, std::int64_t count,
                                std::span<Candidate> buffer) {
  // Candidates above a floor are collected; when the buffer is full, the best `count` of them stay
  // and the worst of these is the new floor. An equal logit of a later, higher id never enters.
  const std::size_t wanted = std::min(static_cast<std::size_t>(count), logits.size());
  if (wanted == 0) return buffer.first(0);
  const std::size_t capacity = std::min(buffer.size(), std::max<std::size_t>(4 * wanted, 1024));
  const auto begin = buffer.begin();
  std::size_t size = 0;
  float floor = kNever;
  const auto keep_best = [&] {
    if (size <= wanted) return;
    std::nth_element(begin, begin + static_cast<std::ptrdiff_t>(wanted) - 1,
                     begin + static_cast<std::ptrdiff_t>(size), before);
    size = wanted;
    floor = buffer[wanted - 1].logit;
  };
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (!(logits[i] > floor)) continue;
    if (size == capacity) {
      keep_best();
      if (!(logits[i] > floor)) continue;
    }
    buffer[size++] = {logits[i], static_cast<std::int32_t>(i)};
  }
  keep_best();
  std::sort(begin, begin + static_cast<std::ptrdiff_t>(size), before);
  return buffer.first(size);
}

std::int32_t argmax(std::span<const float> logits) {
  std::int32_t best = -1;
  float largest = kNever;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (!(logits[i] > largest)) continue;
    largest = logits[i];
    best = static_cast<std::int32_t>(i);
  }
  return best;
}

std::int64_t SamplerScratch::bytes(std::int64_t vocabulary) {
  const auto one = static_cast<std::int64_t>(sizeof(float) + sizeof(Candidate));
  return (vocabulary * one + 63) / 64 * 64;
}

SamplerScratch SamplerScratch::over(std::byte* memory, std::int64_t vocabulary,
                                    const IsaKernels* isa) {
  const auto count = static_cast<std::size_t>(vocabulary);
  auto* candidates = reinterpret_cast<Candidate*>(memory);
  return {{reinterpret_cast<float*>(candidates + count), count}, {candidates, count}, isa};
}

SampledToken sample_token(std::span<const float> logits, const SamplingState& state,
                          std::int64_t position, std::span<const std::uint32_t> allowed,
                          const SamplerScratch& scratch) {
  SampledToken out;
  const bool plain = is_greedy(state.params) && !has_penalties(state.params) && allowed.empty() &&
                     !holds_back(state);
  if (plain) {
    out.token = argmax(logits);
  } else {
    std::copy(logits.begin(), logits.end(), scratch.logits.begin());
    if (has_penalties(state.params)) apply_penalties(state, scratch.logits);
    if (!allowed.empty()) apply_mask(allowed, scratch.logits);
    if (holds_back(state)) hold_back(state, scratch.logits);
    out.token = choose(state, position, scratch);
  }
  if (out.token >= 0 && state.params.logprobs)
    add_logprobs(logits, *state.params.logprobs, scratch, out);
  return out;
}

}  // namespace tenon::cpu
