// The decoders of tokenizer.json, one small class each, and the function that makes them.
// SPDX-License-Identifier: Apache-2.0
#include <optional>
#include <utility>

#include "core/check.h"
#include "core/utf8.h"
#include "text/byte_level.h"
#include "text/code_points.h"
#include "text/decoder.h"
#include "text/json_fields.h"
#include "text/replacer.h"

namespace tenon {
namespace {

/// A decoder from a state type and the options that each state is made of.
template <class State, class Options>
class DecoderOf : public Decoder {
 public:
  explicit DecoderOf(Options options) : options_(std::move(options)) {}
  std::unique_ptr<DecoderState> start() const override { return std::make_unique<State>(options_); }

 private:
  Options options_;
};

template <class State, class Options>
std::unique_ptr<const Decoder> make(Options options) {
  return std::make_unique<DecoderOf<State, Options>>(std::move(options));
}

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  std::size_t done = 0;
  if (!from.empty())
    for (std::size_t at = text.find(from); at != std::string_view::npos;
         at = text.find(from, done)) {
      out.append(text, done, at - done).append(to);
      done = at + from.size();
    }
  out.append(text, done);
  return out;
}

/// Undoes the usual artefacts of English tokenization.
std::string clean_up(std::string text) {
  constexpr std::pair<const char*, const char*> kRules[] = {
      {" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
      {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
      {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : kRules) text = replace_all(text, from, to);
  return text;
}

struct Nothing {};

class SpaceJoinerState : public DecoderState {
 public:
  explicit SpaceJoinerState(Nothing) {}
  void push(std::string piece, const PieceSink& out) override {
    if (!std::exchange(first_, false)) piece.insert(0, 1, ' ');
    out(std::move(piece));
  }

 private:
  bool first_ = true;
};

class ByteLevelState : public DecoderState {
 public:
  explicit ByteLevelState(Nothing) {}
  void push(std::string piece, const PieceSink& out) override {
    std::string text;
    const std::optional<std::string> bytes = from_byte_level(piece);
    assembler_.add(bytes ? *bytes : piece, text);
    if (!text.empty()) out(std::move(text));
  }
  void finish(const PieceSink& out) override {
    std::string text;
    assembler_.finish(text);
    if (!text.empty()) out(std::move(text));
  }

 private:
  Utf8Assembler assembler_;
};

struct MetaspaceOptions {
  std::string replacement;
  bool drop_first = true;
};

class MetaspaceState : public DecoderState {
 public:
  explicit MetaspaceState(const MetaspaceOptions& options) : options_(options) {}
  void push(std::string piece, const PieceSink& out) override {
    const bool drop = std::exchange(first_, false) && options_.drop_first;
    out(replace_all(piece, options_.replacement, drop ? "" : " "));
  }

 private:
  const MetaspaceOptions& options_;
  bool first_ = true;
};

/// A run of byte pieces becomes text where all of it is valid, else one U+FFFD per byte: so nothing
/// of it is certain before it ends.
class ByteFallbackState : public DecoderState {
 public:
  explicit ByteFallbackState(Nothing) {}
  void push(std::string piece, const PieceSink& out) override {
    if (const std::optional<std::uint8_t> byte = parse_byte_piece(piece)) {
      bytes_ += static_cast<char>(*byte);
      return;
    }
    finish(out);
    out(std::move(piece));
  }
  void finish(const PieceSink& out) override {
    if (bytes_.empty()) return;
    const std::string bytes = std::exchange(bytes_, {});
    if (utf8::is_valid(bytes)) return out(bytes);
    for (std::size_t i = 0; i < bytes.size(); ++i) out("\xEF\xBF\xBD");
  }

 private:
  std::string bytes_;
};

/// Makes one piece of all. What follows sees it whole only at the end, unless nothing follows.
class FuseState : public DecoderState {
 public:
  explicit FuseState(Nothing) {}
  void push(std::string piece, const PieceSink&) override { all_ += piece; }
  void finish(const PieceSink& out) override { out(std::exchange(all_, {})); }

 private:
  std::string all_;
};

struct StripOptions {
  char32_t content = U' ';
  std::size_t start = 0, stop = 0;
};

std::string strip(std::string_view piece, const StripOptions& options, std::size_t start,
                  std::size_t stop) {
  std::u32string text = utf8::to_utf32(piece);
  std::size_t begin = 0, end = text.size();
  while (begin < text.size() && begin < start && text[begin] == options.content) ++begin;
  while (end > begin && text.size() - end < stop && text[end - 1] == options.content) --end;
  return utf8::from_utf32(std::u32string_view(text).substr(begin, end - begin));
}

class StripState : public DecoderState {
 public:
  explicit StripState(const StripOptions& options) : options_(options) {}
  void push(std::string piece, const PieceSink& out) override {
    out(strip(piece, options_, options_.start, options_.stop));
  }

 private:
  const StripOptions& options_;
};

/// Fuse and then Strip, as the Llama family ends: at the start as it comes, at the end by holding
/// back as many of the characters in question as may have to go.
class FusedStripState : public DecoderState {
 public:
  explicit FusedStripState(const StripOptions& options) : options_(options), left_(options.start) {}
  void push(std::string piece, const PieceSink& out) override {
    std::u32string text = held_ + utf8::to_utf32(piece);
    std::size_t begin = 0;
    while (left_ > 0 && begin < text.size() && text[begin] == options_.content) ++begin, --left_;
    if (begin < text.size()) left_ = 0;
    std::size_t end = text.size();
    while (end > begin && text.size() - end < options_.stop && text[end - 1] == options_.content)
      --end;
    held_ = text.substr(end);
    if (end > begin) out(utf8::from_utf32(std::u32string_view(text).substr(begin, end - begin)));
  }

 private:
  const StripOptions& options_;
  std::size_t left_;
  std::u32string held_;
};

class ReplaceState : public DecoderState {
 public:
  explicit ReplaceState(const std::shared_ptr<const Replacer>& replacer) : replacer_(*replacer) {}
  void push(std::string piece, const PieceSink& out) override { out(replacer_.replace(piece)); }

 private:
  const Replacer& replacer_;
};

struct WordPieceOptions {
  std::string prefix;
  bool cleanup = true;
};

class WordPieceState : public DecoderState {
 public:
  explicit WordPieceState(const WordPieceOptions& options) : options_(options) {}
  void push(std::string piece, const PieceSink& out) override {
    if (!std::exchange(first_, false)) {
      if (piece.starts_with(options_.prefix))
        piece.erase(0, options_.prefix.size());
      else
        piece.insert(0, 1, ' ');
    }
    out(options_.cleanup ? clean_up(std::move(piece)) : std::move(piece));
  }

 private:
  const WordPieceOptions& options_;
  bool first_ = true;
};

/// The suffix becomes a space, but nothing in the last piece: so one piece is held back.
class BpeDecoderState : public DecoderState {
 public:
  explicit BpeDecoderState(const std::string& suffix) : suffix_(suffix) {}
  void push(std::string piece, const PieceSink& out) override {
    if (held_) out(replace_all(*held_, suffix_, " "));
    held_ = std::move(piece);
  }
  void finish(const PieceSink& out) override {
    if (held_) out(replace_all(*held_, suffix_, ""));
    held_.reset();
  }

 private:
  const std::string& suffix_;
  std::optional<std::string> held_;
};

struct CtcOptions {
  std::string pad_token, word_delimiter;
  bool cleanup = true;
};

class CtcState : public DecoderState {
 public:
  explicit CtcState(const CtcOptions& options) : options_(options) {}
  void push(std::string piece, const PieceSink& out) override {
    if (last_ == piece) return;
    last_ = piece;
    std::string text = replace_all(piece, options_.pad_token, "");
    if (options_.cleanup)
      text = replace_all(clean_up(std::move(text)), options_.word_delimiter, " ");
    if (!text.empty()) out(std::move(text));
  }

 private:
  const CtcOptions& options_;
  std::optional<std::string> last_;
};

StripOptions strip_options(const Json& json, std::string_view where) {
  const std::u32string content = utf8::to_utf32(json.at("content", where).as_string("content"));
  TENON_CHECK(content.size() == 1, ErrorCode::kCorrupt,
              "{}: Strip content of {} characters, expected one", where, content.size());
  const auto count = [&](const char* key) {
    const std::int64_t value = json.at(key, where).as_int(key);
    TENON_CHECK(value >= 0 && value <= (1 << 20), ErrorCode::kCorrupt, "{}: Strip {} of {}", where,
                key, value);
    return static_cast<std::size_t>(value);
  };
  return {content[0], count("start"), count("stop")};
}

void add_sequence(const Json& json, std::string_view where, DecoderChain& chain) {
  const Json::Array& steps = json.at("decoders", where).as_array("decoders");
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const bool fuse = type_of(steps[i], where) == "Fuse";
    if (fuse && i + 1 == steps.size()) continue;  // pieces are joined at the end anyway
    if (fuse && i + 2 == steps.size() && type_of(steps[i + 1], where) == "Strip") {
      chain.push_back(make<FusedStripState>(strip_options(steps[i + 1], where)));
      continue;
    }
    if (i > 0 && i + 1 == steps.size() && type_of(steps[i], where) == "Strip" &&
        type_of(steps[i - 1], where) == "Fuse")
      continue;
    add_decoders(steps[i], where, chain);
  }
}

}  // namespace

void add_decoders(const Json& json, std::string_view where, DecoderChain& chain) {
  const std::string& type = type_of(json, where);
  if (type == "Sequence") {
    add_sequence(json, where, chain);
  } else if (type == "ByteLevel") {
    chain.push_back(make_byte_level_decoder());
  } else if (type == "Metaspace") {
    const bool add_prefix = bool_field(json, "add_prefix_space", true);
    const std::string scheme = string_field(json, "prepend_scheme", "always");
    chain.push_back(make<MetaspaceState>(MetaspaceOptions{
        json.at("replacement", where).as_string("replacement"), scheme != "never" && add_prefix}));
  } else if (type == "ByteFallback") {
    chain.push_back(make<ByteFallbackState>(Nothing{}));
  } else if (type == "Fuse") {
    chain.push_back(make<FuseState>(Nothing{}));
  } else if (type == "Strip") {
    chain.push_back(make<StripState>(strip_options(json, where)));
  } else if (type == "Replace") {
    chain.push_back(
        make<ReplaceState>(std::make_shared<const Replacer>(make_replacer(json, where))));
  } else if (type == "WordPiece") {
    chain.push_back(make<WordPieceState>(
        WordPieceOptions{string_field(json, "prefix", "##"), bool_field(json, "cleanup", true)}));
  } else if (type == "BPEDecoder") {
    chain.push_back(make<BpeDecoderState>(string_field(json, "suffix", "</w>")));
  } else if (type == "CTC") {
    chain.push_back(make<CtcState>(CtcOptions{string_field(json, "pad_token", "<pad>"),
                                              string_field(json, "word_delimiter_token", "|"),
                                              bool_field(json, "cleanup", true)}));
  } else {
    fail(ErrorCode::kUnsupported, "{}: decoder type \"{}\" is not known", where, type);
  }
}

std::unique_ptr<const Decoder> make_space_joiner() { return make<SpaceJoinerState>(Nothing{}); }

std::unique_ptr<const Decoder> make_byte_level_decoder() { return make<ByteLevelState>(Nothing{}); }

}  // namespace tenon
