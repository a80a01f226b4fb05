// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/sampler_processors.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "backends/cpu/sampler_row.h"

namespace tenon::cpu {
namespace {

// Null where the token is beyond the row.
float* entry(std::span<float> row, std::int32_t token) {
  if (token < 0 || static_cast<std::size_t>(token) >= row.size()) return nullptr;
  return &row[static_cast<std::size_t>(token)];
}

void ban(std::span<float> row, std::int32_t token) {
  if (float* logit = entry(row, token)) *logit = kNever;
}

bool holds_back(const SamplingState& state) {
  return state.history.output_tokens < state.params.min_tokens && !state.end_ids.empty();
}

void add_bias(const SamplingParams& params, std::span<float> row) {
  for (const auto& [token, bias] : params.logit_bias)
    if (float* logit = entry(row, token)) *logit += bias;
}

void apply_penalties(const SamplingState& state, std::span<float> row) {
  const SamplingParams& params = state.params;
  for (const auto& [token, use] : state.history.use) {
    float* logit = entry(row, token);
    if (logit == nullptr) continue;
    *logit = *logit < 0.F ? *logit * params.repetition_penalty : *logit / params.repetition_penalty;
    if (use.outputs > 0)
      *logit -=
          params.presence_penalty + params.frequency_penalty * static_cast<float>(use.outputs);
  }
}

// Whatever followed the sequence's last size - 1 tokens before must not follow them again.
void ban_repeats(std::span<const std::int32_t> order, std::int32_t size, std::span<float> row) {
  const auto length = static_cast<std::size_t>(size);
  if (order.size() < length) return;
  const auto end = order.last(length - 1);
  for (std::size_t i = 0; i + length <= order.size(); ++i)
    if (std::equal(end.begin(), end.end(), order.begin() + static_cast<std::ptrdiff_t>(i)))
      ban(row, order[i + length - 1]);
}

void ban_words(std::span<const std::int32_t> order,
               const std::vector<std::vector<std::int32_t>>& words, std::span<float> row) {
  for (const std::vector<std::int32_t>& word : words) {
    if (word.empty() || word.size() - 1 > order.size()) continue;
    if (std::equal(word.begin(), word.end() - 1, order.last(word.size() - 1).begin()))
      ban(row, word.back());
  }
}

void apply_mask(std::span<const std::uint32_t> allowed, std::span<float> row) {
  for (std::size_t i = 0; i < row.size(); ++i) {
    const std::size_t word = i / 32;
    if (word >= allowed.size() || ((allowed[word] >> (i % 32)) & 1U) == 0) row[i] = kNever;
  }
}

// End ids go to -infinity, unless that leaves nothing (a grammar that wants the end now).
void hold_back(const SamplingState& state, std::span<float> row) {
  std::vector<std::pair<float*, float>> saved;
  for (const std::int32_t id : state.end_ids) {
    float* logit = entry(row, id);
    if (logit == nullptr) continue;
    saved.emplace_back(logit, *logit);
    *logit = kNever;
  }
  if (largest_of(row) > kNever) return;
  for (auto it = saved.rbegin(); it != saved.rend(); ++it) *it->first = it->second;
}

}  // namespace

bool has_processors(const SamplingState& state, std::span<const std::uint32_t> allowed) {
  const SamplingParams& params = state.params;
  return !allowed.empty() || !params.logit_bias.empty() || looks_at_use(params) ||
         params.no_repeat_ngram_size > 0 || !params.bad_words.empty() || holds_back(state);
}

void process(const SamplingState& state, std::span<const std::uint32_t> allowed,
             std::span<float> row) {
  const SamplingParams& params = state.params;
  add_bias(params, row);
  if (looks_at_use(params)) apply_penalties(state, row);
  if (params.no_repeat_ngram_size > 0)
    ban_repeats(state.history.order, params.no_repeat_ngram_size, row);
  ban_words(state.history.order, params.bad_words, row);
  if (!allowed.empty()) apply_mask(allowed, row);
  if (holds_back(state)) hold_back(state, row);
}

}  // namespace tenon::cpu
