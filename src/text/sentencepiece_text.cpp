// SPDX-License-Identifier: Apache-2.0
#include "text/sentencepiece_text.h"

#include <optional>

#include "core/utf8.h"
#include "text/byte_level.h"
#include "text/byte_trie.h"
#include "text/code_points.h"
#include "text/precompiled_charsmap.h"

namespace tenon {
namespace {

constexpr std::string_view kMetaspace = "\xE2\x96\x81";  // U+2581

class SentencePieceNormalizer : public Normalizer {
 public:
  SentencePieceNormalizer(const SentencePieceNormalization& options,
                          const std::vector<std::string>& protected_pieces, std::string_view where)
      : options_(options),
        rules_(options.precompiled_charsmap, where),
        space_(options.escape_whitespaces ? kMetaspace : " ") {
    options_.precompiled_charsmap.clear();
    std::vector<std::pair<std::string_view, std::int32_t>> entries;
    for (const std::string& piece : protected_pieces) entries.emplace_back(piece, 0);
    protected_ = ByteTrie(std::move(entries));
  }

  void apply(NormalizedText& text) const override {
    std::string_view rest = text.text;
    const bool shrink = options_.remove_extra_whitespaces;
    if (shrink)
      for (Step step = next(rest); !rest.empty() && step.text == " "; step = next(rest))
        rest.remove_prefix(step.consumed);
    if (rest.empty()) {
      text.text.clear();
      return;
    }
    std::string out;
    out.reserve(rest.size() + rest.size() / 2 + 8);
    if (options_.add_dummy_prefix && !options_.whitespace_is_suffix) out += space_;
    bool after_space = shrink;
    while (!rest.empty()) {
      Step step = next(rest);
      rest.remove_prefix(step.consumed);
      while (after_space && step.text.starts_with(' ')) step.text.remove_prefix(1);
      for (const char c : step.text) {
        if (c == ' ')
          out += space_;
        else
          out += c;
      }
      if (!step.text.empty()) after_space = shrink && step.text.ends_with(' ');
    }
    if (shrink)
      while (out.ends_with(space_)) out.resize(out.size() - space_.size());
    if (options_.add_dummy_prefix && options_.whitespace_is_suffix) out += space_;
    text.text = std::move(out);
  }

 private:
  struct Step {
    std::string_view text;
    std::size_t consumed;
  };
  /// What the beginning of the text becomes.
  Step next(std::string_view rest) const {
    if (rest.empty()) return {rest, 0};
    if (!protected_.empty())
      if (const std::size_t length = protected_.longest_prefix(rest).length; length > 0)
        return {rest.substr(0, length), length};
    if (!rules_.empty())
      if (const auto match = rules_.longest(rest); match.length > 0)
        return {match.replacement, match.length};
    const auto length = static_cast<std::size_t>(utf8_length(rest[0]));
    return {rest.substr(0, length), length};
  }

  SentencePieceNormalization options_;
  PrecompiledCharsmap rules_;
  ByteTrie protected_;
  std::string space_;
};

class SentencePieceDecoderState : public DecoderState {
 public:
  SentencePieceDecoderState(bool strip_first, bool strip_all)
      : strip_(strip_first || strip_all), strip_all_(strip_all) {}

  void push(std::string piece, const PieceSink& out) override {
    std::string text;
    if (const std::optional<std::uint8_t> byte = parse_byte_piece(piece)) {
      bytes_ += static_cast<char>(*byte);
      take_bytes(false, text);
      started_ = true;
    } else {
      take_bytes(true, text);
      std::string_view rest = piece;
      if (strip_ && !started_ && rest.starts_with(kMetaspace)) {
        rest.remove_prefix(kMetaspace.size());
        started_ = !strip_all_;
      }
      started_ = started_ || !rest.empty();
      while (!rest.empty()) {
        if (rest.starts_with(kMetaspace)) {
          text += ' ';
          rest.remove_prefix(kMetaspace.size());
        } else {
          text += rest[0];
          rest.remove_prefix(1);
        }
      }
    }
    if (!text.empty()) out(std::move(text));
  }

  void finish(const PieceSink& out) override {
    std::string text;
    take_bytes(true, text);
    if (!text.empty()) out(std::move(text));
  }

 private:
  /// Bytes that form characters; those that never will become one U+FFFD each.
  void take_bytes(bool all, std::string& out) {
    std::string_view rest = bytes_;
    const std::size_t ready = all ? rest.size() : utf8::complete_prefix(rest);
    for (std::size_t at = 0; at < ready;) {
      const utf8::Decoded decoded = utf8::decode(rest.substr(at, ready - at));
      const auto length = static_cast<std::size_t>(decoded.length);
      if (decoded.valid)
        out += rest.substr(at, length);
      else
        for (std::size_t i = 0; i < length; ++i) utf8::append(out, utf8::kReplacement);
      at += length;
    }
    bytes_.erase(0, ready);
  }

  bool strip_, strip_all_;
  bool started_ = false;  // text came, or the one space was taken off
  std::string bytes_;
};

class SentencePieceDecoder : public Decoder {
 public:
  SentencePieceDecoder(bool strip_first, bool strip_all)
      : strip_first_(strip_first), strip_all_(strip_all) {}
  std::unique_ptr<DecoderState> start() const override {
    return std::make_unique<SentencePieceDecoderState>(strip_first_, strip_all_);
  }

 private:
  bool strip_first_, strip_all_;
};

}  // namespace

std::unique_ptr<const Normalizer> make_sentencepiece_normalizer(
    const SentencePieceNormalization& options, const std::vector<std::string>& protected_pieces,
    std::string_view where) {
  return std::make_unique<SentencePieceNormalizer>(options, protected_pieces, where);
}

std::unique_ptr<const Decoder> make_sentencepiece_decoder(bool strip_first, bool strip_all) {
  return std::make_unique<SentencePieceDecoder>(strip_first, strip_all);
}

}  // namespace tenon
