// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "core/utf8.h"
#include "text/decoder.h"

namespace tenon {

DecoderRun::DecoderRun(const DecoderChain& chain) {
  for (const auto& decoder : chain) states_.push_back(decoder->start());
}

void DecoderRun::push_at(std::size_t step, std::string piece) {
  if (step == states_.size()) {
    out_ += piece;
    return;
  }
  states_[step]->push(std::move(piece),
                      [this, step](std::string next) { push_at(step + 1, std::move(next)); });
}

void DecoderRun::finish() {
  for (std::size_t step = 0; step < states_.size(); ++step)
    states_[step]->finish([this, step](std::string next) { push_at(step + 1, std::move(next)); });
}

void Utf8Assembler::add(std::string_view bytes, std::string& out) {
  pending_ += bytes;
  const std::size_t whole = utf8::complete_prefix(pending_);
  const std::string_view ready = std::string_view(pending_).substr(0, whole);
  if (utf8::is_valid(ready))
    out += ready;
  else
    out += utf8::replace_invalid(ready);
  pending_.erase(0, whole);
}

void Utf8Assembler::finish(std::string& out) {
  out += utf8::replace_invalid(pending_);
  pending_.clear();
}

}  // namespace tenon
