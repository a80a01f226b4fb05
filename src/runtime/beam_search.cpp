// A step ranks the continuations of all open beams together. Of those that end only the first
// beam_width are kept: an end that is less likely than beam_width open ways is none.
// SPDX-License-Identifier: Apache-2.0
#include "runtime/beam_search.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/check.h"

namespace tenon {
namespace {

double length_scaled(double logprob, std::int64_t length, double length_penalty) {
  if (logprob == 0) return 0;  // also before the first token, where 0 / 0 would be no number
  return logprob / std::pow(static_cast<double>(length), length_penalty);
}

bool contains(const std::vector<std::int32_t>& ids, std::int32_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

/// Whether `output` followed by `token` ends in `run`.
bool ends_in(std::span<const std::int32_t> output, std::int32_t token,
             std::span<const std::int32_t> run) {
  if (run.empty() || run.back() != token || run.size() > output.size() + 1) return false;
  const std::span<const std::int32_t> before = run.first(run.size() - 1);
  return std::equal(before.begin(), before.end(), output.last(before.size()).begin());
}

}  // namespace

BeamSearch::BeamSearch(const SamplingParams& params, std::vector<std::int32_t> end_ids,
                       std::int64_t max_new_tokens)
    : params_(params), end_ids_(std::move(end_ids)), max_new_tokens_(max_new_tokens), open_(1) {
  TENON_CHECK(params_.beam_width >= 1, ErrorCode::kInvalidArgument,
              "beam_width: expected at least 1, got {}", params_.beam_width);
  TENON_CHECK(params_.n >= 1, ErrorCode::kInvalidArgument, "n: expected at least 1, got {}",
              params_.n);
  TENON_CHECK(std::isfinite(params_.length_penalty), ErrorCode::kInvalidArgument,
              "length_penalty: expected a finite number, got {}", params_.length_penalty);
  TENON_CHECK(std::isfinite(params_.beam_search_diversity_rate), ErrorCode::kInvalidArgument,
              "beam_search_diversity_rate: expected a finite number, got {}",
              params_.beam_search_diversity_rate);
  TENON_CHECK(max_new_tokens_ >= 1, ErrorCode::kInvalidArgument,
              "max_tokens: beam search has to generate at least 1 token, got {}", max_new_tokens_);
}

std::vector<BeamSearch::Choice> BeamSearch::ranked(
    std::span<const std::vector<TokenLogprob>> candidates) const {
  std::vector<Choice> choices;
  // Where more log-probabilities are to be told of than the search looks at, it looks at no more.
  const auto looked_at =
      static_cast<std::size_t>(beam_candidates(params_.beam_width, end_ids_.size()));
  for (std::size_t b = 0; b < candidates.size(); ++b)
    for (std::size_t k = 0; k < std::min(candidates[b].size(), looked_at); ++k) {
      const TokenLogprob& token = candidates[b][k];
      if (!std::isfinite(token.logprob)) continue;
      const double sum = open_[b].cumulative_logprob + static_cast<double>(token.logprob);
      const double taken =
          static_cast<double>(params_.beam_search_diversity_rate) * static_cast<double>(k);
      choices.push_back({static_cast<int>(b), token, sum, sum - taken});
    }
  // Stable: of equals the better parent's goes first, then the sampler's order.
  std::stable_sort(choices.begin(), choices.end(),
                   [](const Choice& a, const Choice& b) { return a.rank > b.rank; });
  return choices;
}

FinishReason BeamSearch::reason_to_end(const Choice& choice) const {
  const std::int32_t token = choice.token.token;
  if (length_ >= params_.min_tokens) {
    if (contains(end_ids_, token)) return FinishReason::kEndId;
    if (contains(params_.stop_token_ids, token)) return FinishReason::kStopWords;
    for (const std::vector<std::int32_t>& run : params_.stop_words)
      if (ends_in(tokens(choice.parent), token, run)) return FinishReason::kStopWords;
  }
  return length_ >= max_new_tokens_ ? FinishReason::kLength : FinishReason::kNotFinished;
}

BeamSearch::Rows BeamSearch::rows_of(std::span<const std::vector<TokenLogprob>> candidates,
                                     std::span<std::vector<float>> logits) const {
  const auto top = static_cast<std::size_t>(params_.logprobs.value_or(0));
  if (top == 0 && logits.empty()) return {};
  Rows rows;
  for (std::size_t b = 0; b < candidates.size(); ++b) {
    auto row = std::make_shared<Row>();
    const auto likeliest = std::span(candidates[b]).first(std::min(top, candidates[b].size()));
    row->top.assign(likeliest.begin(), likeliest.end());
    if (!logits.empty()) row->logits = std::move(logits[b]);
    rows.push_back(std::move(row));
  }
  return rows;
}

BeamSearch::Open BeamSearch::extended(const Choice& choice, const Rows& rows) const {
  const auto parent = static_cast<std::size_t>(choice.parent);
  Open beam = open_[parent];
  beam.tokens.push_back(choice.token.token);
  beam.logprobs.push_back(choice.token.logprob);
  if (!rows.empty()) beam.rows.push_back(rows[parent]);
  beam.cumulative_logprob = choice.cumulative_logprob;
  return beam;
}

BeamSearch::Finished BeamSearch::finished(const Open& beam, FinishReason reason) const {
  const auto length = static_cast<std::int64_t>(beam.tokens.size());
  return {beam.tokens, beam.logprobs,
          length_scaled(beam.cumulative_logprob, length, params_.length_penalty), reason,
          beam.rows};
}

void BeamSearch::keep_finished(Finished beam) {
  const auto place =
      std::upper_bound(finished_.begin(), finished_.end(), beam.score,
                       [](double score, const Finished& other) { return score > other.score; });
  finished_.insert(place, std::move(beam));
  if (finished_.size() > static_cast<std::size_t>(params_.beam_width)) finished_.pop_back();
}

bool BeamSearch::can_improve() const {
  if (finished_.size() < static_cast<std::size_t>(params_.beam_width)) return true;
  if (params_.early_stopping == 1) return false;
  // A sum of log-probabilities only falls; divided by a growing length it may rise nevertheless.
  const bool longest = params_.early_stopping == -1 && params_.length_penalty > 0;
  const std::int64_t length = longest ? max_new_tokens_ : length_;
  // By diversity the likeliest open beam need not be the first.
  const auto likeliest = std::max_element(
      open_.begin(), open_.end(),
      [](const Open& a, const Open& b) { return a.cumulative_logprob < b.cumulative_logprob; });
  return length_scaled(likeliest->cumulative_logprob, length, params_.length_penalty) >
         finished_.back().score;
}

std::vector<BeamSearch::Beam> BeamSearch::advance(
    std::span<const std::vector<TokenLogprob>> candidates, std::span<std::vector<float>> logits) {
  TENON_ASSERT(!done_ && candidates.size() == open_.size());
  TENON_ASSERT(logits.empty() || logits.size() == open_.size());
  const std::vector<Choice> choices = ranked(candidates);
  if (choices.empty()) {
    stuck_ = finished_.empty();
    done_ = true;
    return {};
  }
  ++length_;
  const Rows rows = rows_of(candidates, logits);
  const auto width = static_cast<std::size_t>(params_.beam_width);
  std::vector<Beam> beams;
  std::vector<Open> next;
  for (std::size_t i = 0; i < choices.size() && next.size() < width; ++i) {
    const Choice& choice = choices[i];
    const FinishReason reason = reason_to_end(choice);
    if (reason == FinishReason::kNotFinished) {
      beams.push_back({choice.parent, choice.token.token, choice.cumulative_logprob});
      next.push_back(extended(choice, rows));
    } else if (i < width) {
      keep_finished(finished(extended(choice, rows), reason));
    }
  }
  open_ = std::move(next);
  done_ = open_.empty() || !can_improve();
  if (done_) {
    open_.clear();
    beams.clear();
  }
  return beams;
}

std::span<const std::int32_t> BeamSearch::tokens(int beam) const {
  TENON_ASSERT(beam >= 0 && static_cast<std::size_t>(beam) < open_.size());
  return open_[static_cast<std::size_t>(beam)].tokens;
}

std::vector<BeamSearch::Finished> BeamSearch::best(FinishReason open_reason) const {
  std::vector<Finished> all = finished_;
  for (const Open& beam : open_) all.push_back(finished(beam, open_reason));
  std::stable_sort(all.begin(), all.end(),
                   [](const Finished& a, const Finished& b) { return a.score > b.score; });
  all.resize(std::min(all.size(), static_cast<std::size_t>(params_.n)));
  return all;
}

}  // namespace tenon
