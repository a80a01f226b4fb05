// SPDX-License-Identifier: Apache-2.0
#include "api/text_sink.h"

#include <algorithm>

#include "core/check.h"
#include "runtime/current_error.h"

namespace tenon {
namespace {

TokenLogprobs logprobs_at(const SequenceResult& result, std::size_t i) {
  TokenLogprobs row{result.tokens[i], result.logprobs[i], {}};
  if (i < result.top_logprobs.size())
    for (const TokenLogprob& top : result.top_logprobs[i])
      row.top.emplace_back(top.token, top.logprob);
  return row;
}

void append(TokenLogits& logits, std::int64_t position, std::span<const float> rows,
            std::int64_t vocab_size) {
  if (logits.values.empty()) logits.first_position = position;
  logits.vocab_size = vocab_size;
  logits.values.insert(logits.values.end(), rows.begin(), rows.end());
}

}  // namespace

bool TextSink::can_stream(const SamplingParams& sampling) {
  return sampling.beam_width <= 1 && sampling.best_of <= sampling.n;
}

TextSink::TextSink(std::size_t request, std::shared_ptr<const Tokenizer> tokenizer,
                   const SamplingParams& sampling, std::vector<std::int32_t> end_ids, bool streams,
                   std::shared_ptr<Deliveries> deliveries)
    : request_(request),
      sampling_(sampling),
      end_ids_(std::move(end_ids)),
      stop_runs_(sampling.stop_words),
      streams_(streams && can_stream(sampling)),
      deliveries_(std::move(deliveries)) {
  for (const std::int32_t token : sampling.stop_token_ids) stop_runs_.push_back({token});
  const int count = sampling.beam_width > 1 ? sampling.n : std::max(sampling.best_of, sampling.n);
  for (int index = 0; index < count; ++index) {
    Sample sample{
        std::nullopt, StopStrings(sampling.stop, sampling.include_stop_in_output), {}, 0, false};
    if (tokenizer) sample.decoder.emplace(tokenizer);
    sample.output.index = index;
    samples_.push_back(std::move(sample));
  }
}

bool TextSink::is_end(std::int32_t token, std::size_t count) const {
  if (sampling_.ignore_eos || static_cast<std::int32_t>(count) <= sampling_.min_tokens)
    return false;
  return std::find(end_ids_.begin(), end_ids_.end(), token) != end_ids_.end();
}

/// Tokens at the output's end that may become a stop run that is left out.
std::size_t TextSink::held_back(const Sample& sample) const {
  const std::vector<std::int32_t>& tokens = sample.output.token_ids;
  std::size_t held = 0;
  if (sampling_.include_stop_in_output) return held;
  for (const std::vector<std::int32_t>& run : stop_runs_)
    for (std::size_t n = std::min(run.size(), tokens.size()); n > held; --n)
      if (std::equal(run.begin(), run.begin() + static_cast<std::ptrdiff_t>(n),
                     tokens.end() - static_cast<std::ptrdiff_t>(n)))
        held = n;
  return held;
}

/// Length of the stop run that the output ends with; 0: none.
std::size_t TextSink::stop_run(const Sample& sample) const {
  const std::vector<std::int32_t>& tokens = sample.output.token_ids;
  std::size_t longest = 0;
  for (const std::vector<std::int32_t>& run : stop_runs_)
    if (run.size() <= tokens.size() && run.size() > longest &&
        std::equal(run.begin(), run.end(), tokens.end() - static_cast<std::ptrdiff_t>(run.size())))
      longest = run.size();
  return longest;
}

void TextSink::decode(Sample& sample, std::size_t end) {
  for (; sample.decoded < end; ++sample.decoded) {
    const std::int32_t token = sample.output.token_ids[sample.decoded];
    if (!sample.decoder || is_end(token, sample.decoded + 1)) continue;
    add_text(sample, sample.decoder->push(token), false);
  }
}

void TextSink::add_text(Sample& sample, std::string_view text, bool last) {
  StopStrings::Result piece = sample.stops.push(text);
  sample.stopped |= piece.stopped;
  if (last && !sample.stopped) piece.text += sample.stops.flush().text;
  if (piece.text.empty() && !last) return;
  sample.output.text += piece.text;
  if (!streams_) return;
  deliveries_->post({{request_, sample.output.index, std::move(piece.text), last},
                     sample.output.token_ids.size(),
                     sample.output.text.size()});
}

void TextSink::add_logprobs(Sample& sample, const SequenceResult& result) {
  for (std::size_t i = 0; i < result.logprobs.size() && i < result.tokens.size(); ++i) {
    sample.output.logprobs.push_back(logprobs_at(result, i));
    sample.output.cumulative_logprob += sample.output.logprobs.back().logprob;
  }
}

RequestSink::Verdict TextSink::on_tokens(int index, const SequenceResult& result) {
  Sample& sample = samples_[static_cast<std::size_t>(index)];
  add_logprobs(sample, result);
  std::vector<std::int32_t>& tokens = sample.output.token_ids;
  tokens.insert(tokens.end(), result.tokens.begin(), result.tokens.end());
  decode(sample, tokens.size() - held_back(sample));
  return sample.stopped ? Verdict::kStop : Verdict::kContinue;
}

void TextSink::on_prompt_logprobs(std::int64_t, const SequenceResult& result) {
  prompt_logprobs_.push_back(logprobs_at(result, 0));
}

void TextSink::on_logits(int index, std::int64_t position, std::span<const float> rows,
                         std::int64_t vocab_size) {
  Sample& sample = samples_[static_cast<std::size_t>(index)];
  const bool of_prompt = sample.output.token_ids.empty();
  if (of_prompt && index == 0 && sampling_.return_context_logits)
    append(context_logits_, position, rows, vocab_size);
  // The prompt's last row is what the first token is chosen from.
  if (of_prompt) sample.output.generation_logits = {};
  const auto row = static_cast<std::size_t>(vocab_size);
  append(sample.output.generation_logits,
         position + static_cast<std::int64_t>(rows.size() / row) - 1,
         of_prompt ? rows.last(row) : rows, vocab_size);
}

void TextSink::on_embedding(std::span<const float> values) {
  embedding_.assign(values.begin(), values.end());
}

void TextSink::on_output(const std::string&, const Tensor& value) { output_ = value; }

void TextSink::on_beam(int beam, const SequenceResult& result, float score) {
  Sample& sample = samples_[static_cast<std::size_t>(beam)];
  sample.output.token_ids = result.tokens;
  sample.output.score = score;
  sample.output.generation_logits = {};  // the row after the prompt comes again
  add_logprobs(sample, result);
  if (!sampling_.logprobs) sample.output.logprobs.clear();
}

void TextSink::on_finish(int index, FinishReason reason, const Error* error) {
  Sample& sample = samples_[static_cast<std::size_t>(index)];
  sample.output.finish_reason = reason;
  if (error != nullptr) error_ = *error;
  try {
    if (reason == FinishReason::kStopWords && !sampling_.include_stop_in_output && !sample.stopped)
      shorten(sample.output, sample.output.token_ids.size() - stop_run(sample));
    decode(sample, sample.output.token_ids.size());
    add_text(sample, sample.decoder ? sample.decoder->finish() : std::string(), true);
  } catch (...) {
    error_ = current_error();  // the wait must end all the same
  }
  deliveries_->finish_one();
}

void TextSink::cut(const Delivery& last) {
  cuts_.emplace_back(static_cast<std::size_t>(last.delta.sample), last);
}

/// Drops what belongs to the tokens from `tokens` on; the text is the caller's.
void TextSink::shorten(CompletionOutput& output, std::size_t tokens) {
  if (output.token_ids.size() <= tokens) return;
  output.token_ids.resize(tokens);
  while (output.logprobs.size() > tokens) {
    output.cumulative_logprob -= output.logprobs.back().logprob;
    output.logprobs.pop_back();
  }
  const auto values = tokens * static_cast<std::size_t>(output.generation_logits.vocab_size);
  if (output.generation_logits.values.size() > values)
    output.generation_logits.values.resize(values);
}

/// Of best_of samples the n of largest mean log-probability.
void TextSink::keep_best(std::vector<CompletionOutput>& outputs) const {
  if (sampling_.best_of <= sampling_.n) return;
  const auto mean = [](const CompletionOutput& output) {
    const auto tokens = static_cast<float>(std::max<std::size_t>(output.token_ids.size(), 1));
    return output.cumulative_logprob / tokens;
  };
  std::stable_sort(outputs.begin(), outputs.end(),
                   [&](const auto& a, const auto& b) { return mean(a) > mean(b); });
  outputs.resize(static_cast<std::size_t>(sampling_.n));
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    outputs[i].index = static_cast<int>(i);
    if (!sampling_.logprobs) outputs[i].logprobs.clear();
  }
}

RequestOutput TextSink::take() {
  if (error_) throw *error_;
  for (const auto& [sample, last] : cuts_) {
    CompletionOutput& output = samples_[sample].output;
    shorten(output, last.tokens);
    if (output.text.size() > last.bytes) output.text.resize(last.bytes);
    output.finish_reason = FinishReason::kStopWords;
  }
  RequestOutput output;
  for (Sample& sample : samples_) output.outputs.push_back(std::move(sample.output));
  keep_best(output.outputs);
  if (!sampling_.return_generation_logits)
    for (CompletionOutput& one : output.outputs) one.generation_logits = {};
  output.prompt_logprobs = std::move(prompt_logprobs_);
  output.context_logits = std::move(context_logits_);
  output.timing = timing_;
  return output;
}

std::vector<float> TextSink::take_embedding() {
  if (error_) throw *error_;
  return std::move(embedding_);
}

const Tensor& TextSink::output() const {
  if (error_) throw *error_;
  TENON_CHECK(output_.has_value(), ErrorCode::kCancelled, "the request ended before its output");
  return *output_;
}

}  // namespace tenon
