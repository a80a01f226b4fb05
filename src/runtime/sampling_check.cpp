// validate(SamplingParams): every field's range, and fields that contradict each other.
// SPDX-License-Identifier: Apache-2.0
#include "runtime/sampling_check.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/check.h"

namespace tenon {
namespace {

constexpr std::size_t kMostTexts = 64;  // of `stop`, and of `bad`
constexpr std::size_t kLongestText = 4096;
constexpr std::size_t kMostWords = 4096;  // of `stop_words`, and of `bad_words`
constexpr std::size_t kLongestWord = 1024;
constexpr std::size_t kMostStopIds = 4096;
constexpr std::size_t kMostBiases = std::size_t{1} << 20U;
constexpr double kMostInt = std::numeric_limits<std::int32_t>::max();

void check_range(const char* field, double value, double low, double high) {
  TENON_CHECK(std::isfinite(value) && value >= low && value <= high, ErrorCode::kInvalidArgument,
              "{}: {} is out of range, expected {} to {}", field, value, low, high);
}

// (0, 1]
void check_fraction(const char* field, double value) {
  TENON_CHECK(value > 0 && value <= 1, ErrorCode::kInvalidArgument,
              "{}: {} is out of range, expected more than 0, at most 1", field, value);
}

void check_count(const char* field, std::size_t count, std::size_t limit) {
  TENON_CHECK(count <= limit, ErrorCode::kInvalidArgument, "{}: {} entries, at most {}", field,
              count, limit);
}

void check_texts(const char* field, const std::vector<std::string>& texts) {
  check_count(field, texts.size(), kMostTexts);
  for (const std::string& text : texts)
    TENON_CHECK(!text.empty() && text.size() <= kLongestText, ErrorCode::kInvalidArgument,
                "{}: a text must have 1 to {} bytes, got {}", field, kLongestText, text.size());
}

void check_id(const char* field, std::int32_t id) {
  TENON_CHECK(id >= 0, ErrorCode::kInvalidArgument, "{}: {} is no token id", field, id);
}

void check_words(const char* field, const std::vector<std::vector<std::int32_t>>& words) {
  check_count(field, words.size(), kMostWords);
  for (const std::vector<std::int32_t>& word : words) {
    TENON_CHECK(!word.empty() && word.size() <= kLongestWord, ErrorCode::kInvalidArgument,
                "{}: a run must have 1 to {} tokens, got {}", field, kLongestWord, word.size());
    for (const std::int32_t id : word) check_id(field, id);
  }
}

void check_which_tokens(const SamplingParams& params) {
  check_range("temperature", params.temperature, 0, 1e4);
  check_range("top_k", params.top_k, -1, 1e9);
  check_range("top_p", params.top_p, 0, 1);
  check_fraction("top_p_decay", params.top_p_decay);
  check_fraction("top_p_min", params.top_p_min);
  if (params.top_p_reset_id) check_id("top_p_reset_id", *params.top_p_reset_id);
  TENON_CHECK(
      params.top_p_decay == 1.0F || params.top_p == 0.0F || params.top_p_min <= params.top_p,
      ErrorCode::kInvalidArgument, "top_p_min: {} is more than top_p {}", params.top_p_min,
      params.top_p);
  check_range("min_p", params.min_p, 0, 1);
  check_fraction("typical_p", params.typical_p);
}

void check_how_likely(const SamplingParams& params) {
  check_range("repetition_penalty", params.repetition_penalty, 1e-3, 1e3);
  check_range("presence_penalty", params.presence_penalty, -1e3, 1e3);
  check_range("frequency_penalty", params.frequency_penalty, -1e3, 1e3);
  check_range("prompt_ignore_length", params.prompt_ignore_length, 0, kMostInt);
  check_range("no_repeat_ngram_size", params.no_repeat_ngram_size, 0, kMostInt);
  check_words("bad_words", params.bad_words);
  check_texts("bad", params.bad);
  check_count("logit_bias", params.logit_bias.size(), kMostBiases);
  std::vector<std::int32_t> ids;
  for (const auto& [id, bias] : params.logit_bias) {
    check_id("logit_bias", id);
    TENON_CHECK(std::isfinite(bias) && std::fabs(bias) <= 1e9F, ErrorCode::kInvalidArgument,
                "logit_bias: {} for token {} is out of range, expected -1e9 to 1e9", bias, id);
    ids.push_back(id);
  }
  std::sort(ids.begin(), ids.end());
  const auto twice = std::adjacent_find(ids.begin(), ids.end());
  TENON_CHECK(twice == ids.end(), ErrorCode::kInvalidArgument,
              "logit_bias: token {} stands there twice", *twice);
}

void check_end(const SamplingParams& params) {
  if (params.max_tokens) check_range("max_tokens", *params.max_tokens, 1, 1e9);
  check_range("min_tokens", params.min_tokens, 0, 1e9);
  TENON_CHECK(!params.max_tokens || params.min_tokens <= *params.max_tokens,
              ErrorCode::kInvalidArgument, "min_tokens: {} is more than max_tokens {}",
              params.min_tokens, *params.max_tokens);
  check_texts("stop", params.stop);
  check_count("stop_token_ids", params.stop_token_ids.size(), kMostStopIds);
  check_words("stop_words", params.stop_words);
}

void check_results(const SamplingParams& params) {
  if (params.logprobs) check_range("logprobs", *params.logprobs, 0, 100);
  if (params.prompt_logprobs) check_range("prompt_logprobs", *params.prompt_logprobs, 0, 100);
  check_range("n", params.n, 1, 256);
  check_range("best_of", params.best_of, 0, 256);
  TENON_CHECK(params.best_of == 0 || params.best_of >= params.n, ErrorCode::kInvalidArgument,
              "best_of: {} samples are fewer than the n = {} that come back", params.best_of,
              params.n);
}

void check_beams(const SamplingParams& params) {
  check_range("beam_width", params.beam_width, 1, 256);
  // length^32 is a double for every length.
  check_range("length_penalty", params.length_penalty, -32, 32);
  check_range("early_stopping", params.early_stopping, -1, 1);
  check_range("beam_search_diversity_rate", params.beam_search_diversity_rate, 0, 1e3);
  if (params.beam_width == 1) return;
  TENON_CHECK(params.n <= params.beam_width, ErrorCode::kInvalidArgument,
              "n: {} is more than beam_width {}", params.n, params.beam_width);
  TENON_CHECK(params.best_of == 0, ErrorCode::kInvalidArgument,
              "best_of: {} with beam_width {}: a beam search draws no samples; leave it at 0",
              params.best_of, params.beam_width);
  TENON_CHECK(params.stop.empty(), ErrorCode::kInvalidArgument,
              "stop: a beam search sees tokens, not text; name the tokens in stop_token_ids or "
              "stop_words, or use beam_width 1");
}

}  // namespace

void validate(const SamplingParams& params) {
  check_which_tokens(params);
  check_how_likely(params);
  check_end(params);
  check_results(params);
  check_beams(params);
}

void check_token_id(const char* field, std::int32_t id, std::int64_t vocab) {
  TENON_CHECK(id >= 0 && id < vocab, ErrorCode::kInvalidArgument,
              "{}: token id {} is outside the vocabulary of {}", field, id, vocab);
}

void check_token_ids(const char* field, const std::vector<std::int32_t>& ids, std::int64_t vocab) {
  for (const std::int32_t id : ids) check_token_id(field, id, vocab);
}

void check_vocabulary(const SamplingParams& params, std::int64_t vocab) {
  if (params.top_p_reset_id) check_token_id("top_p_reset_id", *params.top_p_reset_id, vocab);
  for (const auto& [id, bias] : params.logit_bias) check_token_id("logit_bias", id, vocab);
  for (const auto& word : params.bad_words) check_token_ids("bad_words", word, vocab);
  check_token_ids("stop_token_ids", params.stop_token_ids, vocab);
  for (const auto& word : params.stop_words) check_token_ids("stop_words", word, vocab);
}

}  // namespace tenon
