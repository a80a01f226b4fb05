// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/sampler_row.h"

#include <algorithm>
#include <cmath>

namespace tenon::cpu {
namespace {

bool before(const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
}

}  // namespace

float largest_of(std::span<const float> logits) {
  float largest = kNever;
  for (const float x : logits) largest = x > largest ? x : largest;  // skips NaN
  return largest;
}

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

}  // namespace tenon::cpu
