// SPDX-License-Identifier: Apache-2.0
#include "cli/sampling_flags.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <string_view>
#include <utility>

#include "core/check.h"

namespace tenon::cli {
namespace {

template <class T, class Given>
void set(T& field, const std::optional<Given>& given, const char* flag) {
  if (!given) return;
  if constexpr (std::is_integral_v<Given>)
    TENON_CHECK(*given >= std::numeric_limits<std::int32_t>::min() &&
                    *given <= std::numeric_limits<std::int32_t>::max(),
                ErrorCode::kInvalidArgument, "{}: {} is out of range", flag, *given);
  if constexpr (std::is_same_v<T, std::optional<std::int32_t>>)
    field = static_cast<std::int32_t>(*given);
  else
    field = static_cast<T>(*given);
}

/// "42:-1.5"
std::pair<std::int32_t, float> parse_bias(const std::string& text) {
  std::pair<std::int32_t, float> out;
  const char* end = text.data() + text.size();
  const auto id = std::from_chars(text.data(), end, out.first);
  const bool colon = id.ec == std::errc() && id.ptr != end && *id.ptr == ':';
  const auto bias = std::from_chars(colon ? id.ptr + 1 : end, end, out.second);
  TENON_CHECK(colon && bias.ec == std::errc() && bias.ptr == end, ErrorCode::kInvalidArgument,
              "--logit_bias: expected ID:BIAS, such as 42:-1.5, got \"{}\"", text);
  return out;
}

using Word = std::pair<std::string_view, std::string_view>;  // a field, its flag
// In front of a message, where it says which field is wrong.
constexpr Word kFields[] = {{"n", "--num_return_sequences"}, {"beam_width", "--num_beams"},
                            {"min_tokens", "--min_length"},  {"max_tokens", "--max_output_len"},
                            {"stop", "--stop_words"},        {"bad", "--bad_words"}};
// Within it, where another field sets the limit: words that are nothing else.
constexpr Word kWithin[] = {{"the n = ", "the --num_return_sequences = "},
                            {"beam_width", "--num_beams"},
                            {"max_tokens", "--max_output_len"}};

/// Not where it is part of another name, as in max_beam_width.
void replace_all(std::string& text, const Word& word) {
  for (std::size_t at = 0; (at = text.find(word.first, at)) != std::string::npos;) {
    const std::size_t end = at + word.first.size();
    if ((at > 0 && text[at - 1] == '_') || (end < text.size() && text[end] == '_')) {
      at = end;
      continue;
    }
    text.replace(at, word.first.size(), word.second);
    at += word.second.size();
  }
}

/// validate(), whose messages begin with a field's name.
void check(const SamplingParams& params) {
  try {
    validate(params);
  } catch (const Error& error) {
    const std::string text = in_flag_words(error.what());
    throw Error(error.code(), text.starts_with("--") ? text : "--" + text);
  }
}

}  // namespace

void SamplingFlags::add(CommandLine& line) {
  line.group("Sampling (defaults: the model's generation_config.json)");
  line.option("--temperature", temperature_, "softmax temperature; 0: greedy");
  line.option("--top_k", top_k_, "keep the k likeliest; 0: all, 1: greedy");
  line.option("--top_p", top_p_, "keep the smallest set of that probability; 0: all");
  line.option("--top_p_decay", top_p_decay_, "top_p is multiplied by it after each token [1]");
  line.option("--top_p_min", top_p_min_, "where the decay stops [1e-6]");
  line.option("--top_p_reset_id", top_p_reset_id_, "token id after which top_p starts anew");
  line.option("--min_p", min_p_, "keep what is that much as likely as the likeliest");
  line.option("--typical_p", typical_p_,
              "keep the most typical tokens of that probability; 1: all");
  line.option("--repetition_penalty", repetition_penalty_, "of tokens in prompt and output");
  line.option("--presence_penalty", presence_penalty_, "of tokens in the output");
  line.option("--frequency_penalty", frequency_penalty_, "of tokens in the output, by count");
  line.option("--prompt_ignore_length", prompt_ignore_length_,
              "the prompt's first tokens that --repetition_penalty ignores");
  line.option("--logit_bias", logit_bias_, "ID:BIAS, added to the logit of that token");
  line.option("--no_repeat_ngram_size", no_repeat_ngram_size_,
              "no run of that many tokens comes twice; 0: no limit");
  line.option("--bad_words", bad_words_, "texts that must not come up");
  line.option("--random_seed", random_seed_, "seed of the draws");
  line.option("--num_return_sequences", num_return_sequences_, "samples, or beams, of each prompt");
  line.option("--best_of", best_of_, "samples drawn, of which the likeliest come back");
  line.option("--min_length", min_length_, "no end of sequence before that many tokens");
  line.option("--stop_words", stop_words_, "texts that end the output");
  line.flag("--ignore_eos", ignore_eos_, "go on past the end of sequence");
  line.group("Beam search");
  line.option("--num_beams", num_beams_, "beams; 1: sample");
  line.option("--length_penalty", length_penalty_,
              "a beam's log-probability is divided by its length to that power [1]");
  line.option("--early_stopping", early_stopping_,
              "1: done with as many finished beams; 0: when none can overtake; -1: at any length");
  line.option("--beam_search_diversity_rate", beam_search_diversity_rate_,
              "taken from the k-th likeliest continuation of a beam, times k [0]");
}

// Flags decide between greedy, drawing and beams where they hint at one of them.
void SamplingFlags::apply_mode(SamplingParams& params) const {
  const bool draws = top_k_ || top_p_ || min_p_ || typical_p_ || top_p_decay_;
  TENON_CHECK(!draws || num_beams_.value_or(1) <= 1, ErrorCode::kInvalidArgument,
              "--num_beams: beams draw no token; --top_k, --top_p, --top_p_decay, --min_p and "
              "--typical_p have no part in them; leave those out, or use --num_beams 1");
  if (num_beams_) {
    // The model's temperature is that of its draws.
    if (*num_beams_ > 1 && !temperature_) params.temperature = 0.0F;
  } else if (draws || temperature_) {
    params.beam_width = 1;
  }
  const bool beams = num_beams_ ? *num_beams_ > 1 : params.beam_width > 1;
  if (!beams && draws && params.temperature == 0.0F && !temperature_) params.temperature = 1.0F;
}

SamplingParams SamplingFlags::apply(const SamplingParams& defaults) const {
  SamplingParams params = defaults;
  apply_mode(params);
  set(params.temperature, temperature_, "--temperature");
  set(params.top_k, top_k_, "--top_k");
  set(params.top_p, top_p_, "--top_p");
  set(params.top_p_decay, top_p_decay_, "--top_p_decay");
  set(params.top_p_min, top_p_min_, "--top_p_min");
  set(params.top_p_reset_id, top_p_reset_id_, "--top_p_reset_id");
  set(params.min_p, min_p_, "--min_p");
  set(params.typical_p, typical_p_, "--typical_p");
  set(params.repetition_penalty, repetition_penalty_, "--repetition_penalty");
  set(params.presence_penalty, presence_penalty_, "--presence_penalty");
  set(params.frequency_penalty, frequency_penalty_, "--frequency_penalty");
  set(params.prompt_ignore_length, prompt_ignore_length_, "--prompt_ignore_length");
  set(params.no_repeat_ngram_size, no_repeat_ngram_size_, "--no_repeat_ngram_size");
  set(params.min_tokens, min_length_, "--min_length");
  set(params.n, num_return_sequences_, "--num_return_sequences");
  set(params.best_of, best_of_, "--best_of");
  set(params.beam_width, num_beams_, "--num_beams");
  set(params.length_penalty, length_penalty_, "--length_penalty");
  set(params.early_stopping, early_stopping_, "--early_stopping");
  set(params.beam_search_diversity_rate, beam_search_diversity_rate_,
      "--beam_search_diversity_rate");
  if (random_seed_) params.seed = static_cast<std::uint64_t>(*random_seed_);
  for (const std::string& text : logit_bias_) params.logit_bias.push_back(parse_bias(text));
  params.bad = bad_words_;
  params.stop = stop_words_;
  params.ignore_eos = ignore_eos_;
  check(params);
  return params;
}

std::string in_flag_words(std::string_view message) {
  const std::size_t colon = std::min(message.find(':'), message.size());
  std::string_view front = message.substr(0, colon);
  for (const auto& [field, flag] : kFields)
    if (front == field) front = flag;
  std::string rest(message.substr(colon));
  for (const Word& word : kWithin) replace_all(rest, word);
  return std::string(front) + rest;
}

std::string describe(const SamplingParams& sampling) {
  std::string text;
  if (sampling.beam_width > 1) {
    text = fmt::format("{} beams, length_penalty {:g}, early_stopping {}", sampling.beam_width,
                       sampling.length_penalty, sampling.early_stopping);
    if (sampling.temperature != 0.0F && sampling.temperature != 1.0F)
      text += fmt::format(", temperature {:g}", sampling.temperature);
    if (sampling.beam_search_diversity_rate > 0)
      text += fmt::format(", diversity rate {:g}", sampling.beam_search_diversity_rate);
  } else if (sampling.temperature == 0.0F || sampling.top_k == 1) {
    text = "greedy";
  } else {
    text = fmt::format("temperature {:g}", sampling.temperature);
    if (sampling.top_k > 0) text += fmt::format(", top_k {}", sampling.top_k);
    if (sampling.top_p > 0 && sampling.top_p < 1)
      text += fmt::format(", top_p {:g}", sampling.top_p);
    if (sampling.top_p_decay < 1) text += fmt::format(", top_p_decay {:g}", sampling.top_p_decay);
    if (sampling.min_p > 0) text += fmt::format(", min_p {:g}", sampling.min_p);
    if (sampling.typical_p < 1) text += fmt::format(", typical_p {:g}", sampling.typical_p);
    if (sampling.seed) text += fmt::format(", seed {}", *sampling.seed);
  }
  if (sampling.repetition_penalty != 1.0F)
    text += fmt::format(", repetition_penalty {:g}", sampling.repetition_penalty);
  if (sampling.no_repeat_ngram_size > 0)
    text += fmt::format(", no_repeat_ngram_size {}", sampling.no_repeat_ngram_size);
  if (!sampling.logit_bias.empty())
    text += fmt::format(", logit_bias of {} tokens", sampling.logit_bias.size());
  if (const std::size_t bad = sampling.bad_words.size() + sampling.bad.size(); bad > 0)
    text += fmt::format(", {} bad words", bad);
  return text;
}

}  // namespace tenon::cli
