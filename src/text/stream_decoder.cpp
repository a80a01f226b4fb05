// SPDX-License-Identifier: Apache-2.0
#include "text/stream_decoder.h"

#include "core/check.h"
#include "text/decoder.h"
#include "text/tokenizer_parts.h"

namespace tenon {

StreamDecoder::StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special_tokens)
    : tokenizer_(std::move(tokenizer)), skip_special_tokens_(skip_special_tokens) {
  TENON_ASSERT(tokenizer_ != nullptr);
  run_ = std::make_unique<DecoderRun>(tokenizer_->parts_->decoder);
}

StreamDecoder::~StreamDecoder() = default;
StreamDecoder::StreamDecoder(StreamDecoder&&) noexcept = default;
StreamDecoder& StreamDecoder::operator=(StreamDecoder&&) noexcept = default;

std::string StreamDecoder::push(std::int32_t id) {
  tokenizer_->decode_one(id, skip_special_tokens_, *run_);
  return run_->take();
}

std::string StreamDecoder::finish() {
  run_->finish();
  std::string rest = run_->take();
  run_ = std::make_unique<DecoderRun>(tokenizer_->parts_->decoder);
  return rest;
}

}  // namespace tenon
