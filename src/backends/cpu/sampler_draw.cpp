// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/sampler_draw.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "backends/cpu/philox.h"

namespace tenon::cpu {
namespace {

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

bool cuts_mass(double top_p) { return top_p > 0.0 && top_p < 1.0; }

// No order is needed: every token at least min_p times as likely as the likeliest.
KeptTokens keep_unordered(const SamplingParams& params, float largest,
                          const SamplerScratch& scratch) {
  const std::span<float> row = scratch.logits;
  double total = sum_of_weights(row, largest, 1.F / params.temperature, row.data(), scratch.isa);
  if (params.min_p > 0.F) {
    total = 0.0;
    for (float& weight : row) {
      if (weight < params.min_p) weight = 0.F;
      total += static_cast<double>(weight);
    }
  }
  return {.row = row, .total = total};
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
Weighted nucleus(const SamplingParams& params, double top_p, float largest,
                 const SamplerScratch& scratch) {
  const float inverse = 1.F / params.temperature;
  const double mass =
      top_p * sum_of_weights(scratch.logits, largest, inverse, nullptr, scratch.isa);
  for (std::int64_t count = 256;; count *= 8) {
    const auto candidates = select_top(scratch.logits, count, scratch.candidates);
    const bool all = static_cast<std::int64_t>(candidates.size()) < count;
    to_weights(candidates, largest, inverse);
    const Weighted out = cut(candidates, mass, params.min_p);
    if (all || out.kept.size() < candidates.size() || out.total >= mass) return out;
  }
}

Weighted keep_ordered(const SamplingParams& params, double top_p, float largest,
                      const SamplerScratch& scratch) {
  if (params.top_k <= 0) return nucleus(params, top_p, largest, scratch);
  const auto candidates = select_top(scratch.logits, params.top_k, scratch.candidates);
  to_weights(candidates, largest, 1.F / params.temperature);
  double total = 0.0;
  for (const Candidate& c : candidates) total += static_cast<double>(c.logit);
  const double mass = cuts_mass(top_p) ? top_p * total : std::numeric_limits<double>::infinity();
  return cut(candidates, mass, params.min_p);
}

// The smallest distance at which the weight of all tokens no further away reaches `mass`.
// `tokens` hold distances and are permuted; weights are by token.
float distance_reaching(double mass, std::span<Candidate> tokens, std::span<const float> weights) {
  double closer = 0.0;  // weight of all before the span
  while (tokens.size() > 1) {
    const std::size_t half = tokens.size() / 2;
    std::nth_element(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(half),
                     tokens.end(),
                     [](const Candidate& a, const Candidate& b) { return a.logit < b.logit; });
    double first = 0.0;
    for (const Candidate& c : tokens.first(half))
      first += static_cast<double>(weights[static_cast<std::size_t>(c.token)]);
    if (closer + first >= mass) {
      tokens = tokens.first(half);
    } else {
      closer += first;
      tokens = tokens.subspan(half);
    }
  }
  return tokens.front().logit;
}

// Of the tokens with a weight in `row`, those whose information is nearest to the entropy, up to
// the mass typical_p. `tokens` are these with their logits, in any order.
KeptTokens keep_typical(const SamplingParams& params, float largest, double total,
                        std::span<Candidate> tokens, std::span<float> row) {
  if (!(total > 0.0) || !std::isfinite(total)) return {};
  const double inverse = 1.0 / static_cast<double>(params.temperature);
  const auto weight = [&](const Candidate& c) -> float& {
    return row[static_cast<std::size_t>(c.token)];
  };
  // With x the scaled logit and Z the total, information is log Z - x and its mean the entropy, so
  // their difference needs no log Z.
  const auto scaled = [&](const Candidate& c) {
    return (static_cast<double>(c.logit) - static_cast<double>(largest)) * inverse;
  };
  double mean = 0.0;
  for (const Candidate& c : tokens) mean += static_cast<double>(weight(c)) / total * scaled(c);
  for (Candidate& c : tokens) c.logit = static_cast<float>(std::fabs(scaled(c) - mean));
  const double mass = static_cast<double>(params.typical_p) * total;
  const float furthest = distance_reaching(mass, tokens, row);
  KeptTokens out{.row = row};
  for (const Candidate& c : tokens) {
    if (c.logit > furthest) weight(c) = 0.F;
    out.total += static_cast<double>(weight(c));
  }
  return out;
}

// Every token with a weight; its logit goes to scratch.candidates, its weight to scratch.logits.
std::span<Candidate> list_unordered(const SamplingParams& params, float largest, double& total,
                                    const SamplerScratch& scratch) {
  for (std::size_t i = 0; i < scratch.logits.size(); ++i)
    scratch.candidates[i] = {scratch.logits[i], static_cast<std::int32_t>(i)};
  total = keep_unordered(params, largest, scratch).total;
  std::size_t size = 0;
  for (const Candidate& c : scratch.candidates)
    if (scratch.logits[static_cast<std::size_t>(c.token)] > 0.F) scratch.candidates[size++] = c;
  return scratch.candidates.first(size);
}

// The same of tokens that were ordered already.
std::span<Candidate> list_ordered(const SamplingParams& params, double top_p, float largest,
                                  double& total, const SamplerScratch& scratch) {
  const Weighted weighted = keep_ordered(params, top_p, largest, scratch);
  const auto entry = [&](const Candidate& c) -> float& {
    return scratch.logits[static_cast<std::size_t>(c.token)];
  };
  const float inverse = 1.F / params.temperature;
  for (Candidate& c : weighted.kept) c.logit = entry(c);
  std::fill(scratch.logits.begin(), scratch.logits.end(), 0.F);
  for (const Candidate& c : weighted.kept) entry(c) = std::exp((c.logit - largest) * inverse);
  total = weighted.total;
  return weighted.kept;
}

}  // namespace

bool is_greedy(const SamplingParams& params) {
  return params.temperature < 1e-6F || params.top_k == 1;
}

double current_top_p(const SamplingState& state) {
  const SamplingParams& params = state.params;
  const auto top_p = static_cast<double>(params.top_p > 0.F ? params.top_p : 1.F);
  if (params.top_p_decay >= 1.F) return top_p;
  const double decayed =
      top_p * std::pow(static_cast<double>(params.top_p_decay), state.history.since_reset);
  return std::max(decayed, static_cast<double>(params.top_p_min));
}

std::int32_t KeptTokens::at(double u) const {
  if (!row.empty())
    return walk(
        row.size(), u * total, [&](std::size_t i) { return static_cast<double>(row[i]); },
        [](std::size_t i) { return static_cast<std::int32_t>(i); });
  return walk(
      few.size(), u * total, [&](std::size_t i) { return static_cast<double>(few[i].logit); },
      [&](std::size_t i) { return few[i].token; });
}

KeptTokens kept_tokens(const SamplingState& state, const SamplerScratch& scratch) {
  const SamplingParams& params = state.params;
  const float largest = largest_of(scratch.logits);
  if (!(largest > kNever)) return {};
  const double top_p = current_top_p(state);
  const bool ordered = params.top_k > 0 || cuts_mass(top_p);
  if (params.typical_p < 1.F) {
    double total = 0.0;
    const auto tokens = ordered ? list_ordered(params, top_p, largest, total, scratch)
                                : list_unordered(params, largest, total, scratch);
    return keep_typical(params, largest, total, tokens, scratch.logits);
  }
  if (!ordered) return keep_unordered(params, largest, scratch);
  const Weighted weighted = keep_ordered(params, top_p, largest, scratch);
  return {.few = weighted.kept, .total = weighted.total};
}

std::int32_t draw(const SamplingState& state, std::int64_t position,
                  const SamplerScratch& scratch) {
  const double u =
      uniform(state.params.seed.value_or(0), static_cast<std::uint32_t>(state.sample_index),
              static_cast<std::uint64_t>(position));
  return kept_tokens(state, scratch).at(u);
}

}  // namespace tenon::cpu
