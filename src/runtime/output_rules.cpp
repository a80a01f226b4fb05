// SPDX-License-Identifier: Apache-2.0
#include "runtime/output_rules.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tenon {
namespace {

bool holds(const std::vector<std::int32_t>& ids, std::int32_t token) {
  return std::find(ids.begin(), ids.end(), token) != ids.end();
}

/// Whether the output, which begins at `begin`, ends with `run`.
bool ends_with(const std::vector<std::int32_t>& tokens, std::int64_t begin,
               const std::vector<std::int32_t>& run) {
  const auto length = static_cast<std::int64_t>(run.size());
  if (length > static_cast<std::int64_t>(tokens.size()) - begin) return false;
  return std::equal(run.begin(), run.end(), tokens.end() - length);
}

}  // namespace

FewEnds few_ends(const Request& spec) {
  FewEnds out;
  const SamplingParams& sampling = spec.sampling;
  const std::size_t ends = sampling.ignore_eos ? 0 : spec.end_ids.size();
  if (ends > out.ids.size() || !sampling.stop_token_ids.empty() || !sampling.stop_words.empty())
    return out;
  out.all = true;
  out.min_tokens = sampling.min_tokens;
  std::copy_n(spec.end_ids.begin(), ends, out.ids.begin());
  return out;
}

FinishReason reason_to_end(const Sequence& sequence) {
  const std::int32_t token = sequence.tokens.back();
  const std::int64_t outputs =
      static_cast<std::int64_t>(sequence.tokens.size()) - sequence.prompt_length;
  const FewEnds& few = sequence.ends;
  if (few.all) {
    if (outputs >= few.min_tokens && (token == few.ids[0] || token == few.ids[1]))
      return FinishReason::kEndId;
  } else {
    const Request& spec = *sequence.request->spec;
    const SamplingParams& sampling = spec.sampling;
    if (outputs >= sampling.min_tokens) {
      if (!sampling.ignore_eos && holds(spec.end_ids, token)) return FinishReason::kEndId;
      if (holds(sampling.stop_token_ids, token)) return FinishReason::kStopWords;
      for (const std::vector<std::int32_t>& run : sampling.stop_words)
        if (ends_with(sequence.tokens, sequence.prompt_length, run))
          return FinishReason::kStopWords;
    }
  }
  if (outputs >= sequence.max_new_tokens) return FinishReason::kLength;
  return FinishReason::kNotFinished;
}

SequenceResult logprobs_of_row(std::span<const float> logits, std::int32_t token,
                               std::int32_t top) {
  float largest = -std::numeric_limits<float>::infinity();
  for (const float logit : logits) largest = logit > largest ? logit : largest;
  double total = 0;
  for (const float logit : logits)
    if (!std::isnan(logit)) total += std::exp(static_cast<double>(logit) - largest);
  const double log_total = static_cast<double>(largest) + std::log(total);
  const auto logprob = [&](std::size_t i) { return static_cast<float>(logits[i] - log_total); };

  SequenceResult result;
  result.tokens = {token};
  result.logprobs = {logprob(static_cast<std::size_t>(token))};
  std::vector<std::int32_t> order;
  const auto before = [&](std::int32_t a, std::int32_t b) {
    const float x = logits[static_cast<std::size_t>(a)];
    const float y = logits[static_cast<std::size_t>(b)];
    return x > y || (x == y && a < b);
  };
  const auto wanted = std::min(static_cast<std::size_t>(std::max(top, 0)), logits.size());
  for (std::size_t i = 0; i < logits.size() && wanted > 0; ++i)
    if (!std::isnan(logits[i])) order.push_back(static_cast<std::int32_t>(i));
  const auto kept = static_cast<std::ptrdiff_t>(std::min(wanted, order.size()));
  std::partial_sort(order.begin(), order.begin() + kept, order.end(), before);
  result.top_logprobs.emplace_back();
  for (std::ptrdiff_t i = 0; i < kept; ++i)
    result.top_logprobs.back().push_back(
        {order[static_cast<std::size_t>(i)],
         logprob(static_cast<std::size_t>(order[static_cast<std::size_t>(i)]))});
  return result;
}

}  // namespace tenon
