// How well a model predicts a text, and how far its predictions are from a reference's.
//
// KL divergence of the reference P from the model Q at a position, in nats:
//   sum over the vocabulary of P(v) (log P(v) - log Q(v)).
// Against stored log-probabilities the sum runs over the stored tokens, and all others count as one
// event: never more than the full sum, and close to it where little mass is left over.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "tenon/llm.h"

namespace tenon {

/// The likeliest tokens of one position, best first, and the mass of all others.
struct TopLogprobs {
  std::vector<std::int32_t> ids;
  std::vector<float> logprobs;
  float rest_mass = 0.0F;
};

/// log softmax of one row of logits, in double.
std::vector<double> log_softmax(std::span<const float> logits);
TopLogprobs top_of(std::span<const double> logprobs, std::size_t count);
double kl_divergence(const TopLogprobs& reference, std::span<const double> model);
double kl_divergence(std::span<const double> reference, std::span<const double> model);

struct PositionFigures {
  std::int64_t position = 0;
  std::int32_t token = 0;  ///< that follows
  double logprob = 0;      ///< of it
  double kl = 0;           ///< where there is a reference
  bool top1_agrees = false;
};

struct EvalFigures {
  std::int64_t positions = 0;
  double mean_nll = 0;
  double perplexity = 0;
  bool has_reference = false;
  double mean_kl = 0, median_kl = 0, p99_kl = 0, max_kl = 0;
  double top1_agreement = 0;
  std::vector<PositionFigures> worst;  ///< by KL, or by negative log-probability; worst first
};

EvalFigures summarise(std::vector<PositionFigures> positions, bool has_reference,
                      std::size_t worst);

/// Stored log-probabilities: input_ids i64 [n + 1], top_ids i32 [n, k], top_logprobs f32 [n, k],
/// rest_mass f32 [n], next_logprob f32 [n], in a safetensors file.
struct StoredLogprobs {
  std::vector<std::int32_t> input_ids;
  std::vector<TopLogprobs> top;
  std::vector<float> next_logprob;
};
StoredLogprobs read_logprobs(const std::filesystem::path& path);
void write_logprobs(const std::filesystem::path& path, const StoredLogprobs& logprobs);

/// Calls each(position, log-probabilities of what follows that position) for the first
/// ids.size() - 1 positions, in windows of `window` tokens that each start anew (a model's
/// positions end somewhere, and so does memory).
void for_each_position(
    LLM& llm, std::span<const std::int32_t> ids, std::int64_t window,
    const std::function<void(std::int64_t position, std::span<const double> logprobs)>& each);

}  // namespace tenon
