// SPDX-License-Identifier: Apache-2.0
#include "api/text_sink.h"

#include <algorithm>

namespace tenon {

void Completion::add(int samples) {
  const std::lock_guard lock(mutex_);
  running_ += samples;
}

void Completion::finish_one() {
  const std::lock_guard lock(mutex_);
  if (--running_ == 0) done_.notify_all();
}

void Completion::wait() {
  std::unique_lock lock(mutex_);
  done_.wait(lock, [this] { return running_ == 0; });
}

TextSink::TextSink(std::size_t request, std::shared_ptr<const Tokenizer> tokenizer,
                   const SamplingParams& sampling, std::vector<std::int32_t> end_ids,
                   OnText on_text, std::shared_ptr<Completion> completion)
    : request_(request),
      sampling_(sampling),
      end_ids_(std::move(end_ids)),
      on_text_(std::move(on_text)),
      completion_(std::move(completion)),
      begin_(std::chrono::steady_clock::now()) {
  for (int index = 0; index < sampling.n; ++index) {
    Sample sample{
        std::nullopt, StopStrings(sampling.stop, sampling.include_stop_in_output), {}, false};
    if (tokenizer) sample.decoder.emplace(tokenizer);
    sample.output.index = index;
    samples_.push_back(std::move(sample));
  }
}

bool TextSink::is_end(std::int32_t token, const Sample& sample) const {
  if (sampling_.ignore_eos ||
      static_cast<std::int32_t>(sample.output.token_ids.size()) < sampling_.min_tokens)
    return false;
  return std::find(end_ids_.begin(), end_ids_.end(), token) != end_ids_.end();
}

void TextSink::add_text(Sample& sample, std::string_view text, bool last) {
  StopStrings::Result piece = sample.stops.push(text);
  sample.stopped |= piece.stopped;
  if (last && !sample.stopped) piece.text += sample.stops.flush().text;
  if (piece.text.empty() && !last) return;
  sample.output.text += piece.text;
  if (!on_text_) return;
  const bool go_on = on_text_({request_, sample.output.index, std::move(piece.text), last});
  sample.stopped |= !go_on;
}

void TextSink::add_logprobs(Sample& sample, const SequenceResult& result) {
  for (std::size_t i = 0; i < result.logprobs.size() && i < result.tokens.size(); ++i) {
    TokenLogprobs row{result.tokens[i], result.logprobs[i], {}};
    if (i < result.top_logprobs.size())
      for (const TokenLogprob& top : result.top_logprobs[i])
        row.top.emplace_back(top.token, top.logprob);
    sample.output.cumulative_logprob += row.logprob;
    sample.output.logprobs.push_back(std::move(row));
  }
}

RequestSink::Verdict TextSink::on_tokens(int index, const SequenceResult& result) {
  Sample& sample = samples_[static_cast<std::size_t>(index)];
  if (times_.time_to_first_token == 0)
    times_.time_to_first_token =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  add_logprobs(sample, result);
  for (const std::int32_t token : result.tokens) {
    sample.output.token_ids.push_back(token);
    if (is_end(token, sample)) break;
    if (sample.decoder) add_text(sample, sample.decoder->push(token), false);
  }
  return sample.stopped ? Verdict::kStop : Verdict::kContinue;
}

void TextSink::on_logits(int index, std::int64_t position, std::span<const float> rows,
                         std::int64_t vocab_size) {
  TokenLogits& logits = samples_[static_cast<std::size_t>(index)].output.generation_logits;
  if (logits.values.empty()) logits.first_position = position;
  logits.vocab_size = vocab_size;
  logits.values.insert(logits.values.end(), rows.begin(), rows.end());
}

void TextSink::on_finish(int index, FinishReason reason, const Error* error) {
  Sample& sample = samples_[static_cast<std::size_t>(index)];
  sample.output.finish_reason = reason;
  if (error != nullptr) error_ = *error;
  times_.total = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  try {
    if (sample.decoder) add_text(sample, sample.decoder->finish(), true);
  } catch (...) {
    // The caller's callback failed at the very end: the text is whole, and the wait must end.
  }
  completion_->finish_one();
}

RequestOutput TextSink::take() {
  if (error_) throw *error_;
  RequestOutput output;
  for (Sample& sample : samples_) output.outputs.push_back(std::move(sample.output));
  output.times = times_;
  return output;
}

}  // namespace tenon
