// Turns pieces back into text, one after another: decoding at once and streaming are the same code,
// so the deltas of a stream always add up to the whole.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/json.h"

namespace tenon {

/// Takes the pieces that a step hands on.
using PieceSink = std::function<void(std::string)>;

/// One step at work on one text. It may hold pieces back until it knows what becomes of them.
class DecoderState {
 public:
  virtual ~DecoderState() = default;
  virtual void push(std::string piece, const PieceSink& out) = 0;
  virtual void finish(const PieceSink&) {}
};

/// One step: immutable, thread-safe, starts a state per text.
class Decoder {
 public:
  virtual ~Decoder() = default;
  virtual std::unique_ptr<DecoderState> start() const = 0;
};

using DecoderChain = std::vector<std::unique_ptr<const Decoder>>;

/// Appends the steps of the "decoder" member of a tokenizer.json. Throws Error{kUnsupported} naming
/// an unknown type.
void add_decoders(const Json& json, std::string_view where, DecoderChain& chain);

/// Without a decoder, pieces are joined by spaces.
std::unique_ptr<const Decoder> make_space_joiner();
std::unique_ptr<const Decoder> make_byte_level_decoder();

/// All steps of a chain at work on one text.
class DecoderRun {
 public:
  explicit DecoderRun(const DecoderChain& chain);
  void push(std::string piece) { push_at(0, std::move(piece)); }
  void finish();
  /// The text that is certain by now and was not taken before.
  std::string take() { return std::exchange(out_, {}); }

 private:
  void push_at(std::size_t step, std::string piece);
  std::vector<std::unique_ptr<DecoderState>> states_;
  std::string out_;
};

/// Collects bytes and hands out whole characters; what can never become one turns into U+FFFD.
class Utf8Assembler {
 public:
  void add(std::string_view bytes, std::string& out);
  void finish(std::string& out);

 private:
  std::string pending_;
};

}  // namespace tenon
