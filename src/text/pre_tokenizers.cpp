// The pre-tokenizers of tokenizer.json, one small class each, and the function that makes them.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <functional>

#include "core/check.h"
#include "core/utf8.h"
#include "text/byte_level.h"
#include "text/json_fields.h"
#include "text/pre_tokenizer.h"
#include "text/replacer.h"
#include "text/unicode.h"

namespace tenon {

const char* const kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

namespace {

struct Part {
  TextRange range;
  bool match;
};

/// Applies a behavior to the parts of one piece, which cover it without gaps.
void join_parts(const std::vector<Part>& parts, SplitBehavior behavior,
                std::vector<TextRange>& out) {
  const std::size_t first = out.size();
  const auto extend = [&](const TextRange& range) {
    if (out.size() > first)
      out.back().end = range.end;
    else
      out.push_back(range);
  };
  bool previous = false;
  switch (behavior) {
    case SplitBehavior::kIsolated:
      for (const Part& part : parts) out.push_back(part.range);
      break;
    case SplitBehavior::kRemoved:
      for (const Part& part : parts)
        if (!part.match) out.push_back(part.range);
      break;
    case SplitBehavior::kContiguous:
      for (const Part& part : parts) {
        if (part.match == previous)
          extend(part.range);
        else
          out.push_back(part.range);
        previous = part.match;
      }
      break;
    case SplitBehavior::kMergedWithPrevious:
      for (const Part& part : parts) {
        if (part.match && !previous)
          extend(part.range);
        else
          out.push_back(part.range);
        previous = part.match;
      }
      break;
    case SplitBehavior::kMergedWithNext: {  // the same from the right
      for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
        if (part->match && !previous && out.size() > first)
          out.back().begin = part->range.begin;
        else
          out.push_back(part->range);
        previous = part->match;
      }
      std::reverse(out.begin() + static_cast<std::ptrdiff_t>(first), out.end());
      break;
    }
  }
}

/// A step that cuts every piece by what `find` finds in it.
class Splitter : public PreTokenizer {
 public:
  Splitter(SplitBehavior behavior, bool invert) : behavior_(behavior), invert_(invert) {}

  void apply(PieceList& list) const override {
    list.new_pieces.clear();
    std::vector<Part> parts;
    for (const TextRange& piece : list.pieces) {
      find(list.piece(piece), list.matches);
      const std::size_t first = list.new_pieces.size();
      if (behavior_ == SplitBehavior::kIsolated) {
        cut(piece, list.matches, list.new_pieces);
      } else {
        parts.clear();
        std::size_t done = piece.begin;
        for (const TextRange& match : list.matches) {
          const TextRange range{piece.begin + match.begin, piece.begin + match.end};
          if (done != range.begin) parts.push_back({{done, range.begin}, invert_});
          parts.push_back({range, !invert_});
          done = range.end;
        }
        if (done != piece.end) parts.push_back({{done, piece.end}, invert_});
        join_parts(parts, behavior_, list.new_pieces);
      }
      const auto tail = list.new_pieces.begin() + static_cast<std::ptrdiff_t>(first);
      list.new_pieces.erase(std::remove_if(tail, list.new_pieces.end(),
                                           [](const TextRange& x) { return x.begin == x.end; }),
                            list.new_pieces.end());
    }
    list.pieces.swap(list.new_pieces);
  }

 protected:
  virtual void find(std::string_view text, std::vector<TextRange>& out) const = 0;

 private:
  static void cut(const TextRange& piece, const std::vector<TextRange>& matches,
                  std::vector<TextRange>& out) {
    std::size_t done = piece.begin;
    for (const TextRange& match : matches) {
      if (done < piece.begin + match.begin) out.push_back({done, piece.begin + match.begin});
      if (match.begin < match.end)
        out.push_back({piece.begin + match.begin, piece.begin + match.end});
      done = piece.begin + match.end;
    }
    if (done < piece.end) out.push_back({done, piece.end});
  }
  SplitBehavior behavior_;
  bool invert_;
};

class PatternSplitter : public Splitter {
 public:
  PatternSplitter(SplitPattern pattern, SplitBehavior behavior, bool invert)
      : Splitter(behavior, invert), pattern_(std::move(pattern)) {}

 private:
  void find(std::string_view text, std::vector<TextRange>& out) const override {
    pattern_.find_all(text, out);
  }
  SplitPattern pattern_;
};

/// Each character of a set is a match of its own.
class CharacterSplitter : public Splitter {
 public:
  using Test = std::function<bool(char32_t)>;
  CharacterSplitter(Test test, SplitBehavior behavior)
      : Splitter(behavior, false), test_(std::move(test)) {}

 private:
  void find(std::string_view text, std::vector<TextRange>& out) const override {
    out.clear();
    for_each_code_point(text, [&](char32_t c, std::size_t at, std::size_t length) {
      if (test_(c)) out.push_back({at, at + length});
    });
  }
  Test test_;
};

/// Runs of word characters and runs of what is neither word nor white space.
class WhitespaceSplitter : public Splitter {
 public:
  WhitespaceSplitter() : Splitter(SplitBehavior::kRemoved, true) {}

 private:
  void find(std::string_view text, std::vector<TextRange>& out) const override {
    out.clear();
    int last = 0;  // kind of the run: 0 white space, 1 word, 2 other
    for_each_code_point(text, [&](char32_t c, std::size_t at, std::size_t length) {
      const int kind = unicode::word().contains(c) ? 1 : unicode::white_space().contains(c) ? 0 : 2;
      if (kind != 0 && kind == last)
        out.back().end = at + length;
      else if (kind != 0)
        out.push_back({at, at + length});
      last = kind;
    });
  }
};

/// Pieces of so many characters.
class FixedLength : public Splitter {
 public:
  explicit FixedLength(std::size_t length)
      : Splitter(SplitBehavior::kIsolated, false), length_(length) {}

 private:
  void find(std::string_view text, std::vector<TextRange>& out) const override {
    out.clear();
    std::size_t count = 0;
    for_each_code_point(text, [&](char32_t, std::size_t at, std::size_t length) {
      if (count++ % length_ == 0) out.push_back({at, at});
      out.back().end = at + length;
    });
  }
  std::size_t length_;
};

/// A step that respells pieces: writes each into a new text.
class Respeller : public PreTokenizer {
 public:
  void apply(PieceList& list) const override {
    std::string out = std::move(list.spare);
    out.clear();
    for (TextRange& piece : list.pieces) {
      const std::size_t begin = out.size();
      respell(list.piece(piece), list.starts_original && piece.begin == 0, out);
      piece = {begin, out.size()};
    }
    list.spare = std::move(list.owned);
    list.owned = std::move(out);
    list.text = list.owned;
  }

 protected:
  virtual void respell(std::string_view piece, bool at_start, std::string& out) const = 0;
};

class ByteLevelSpelling : public Respeller {
  void respell(std::string_view piece, bool, std::string& out) const override {
    for (const char c : piece) out += byte_level_character(static_cast<std::uint8_t>(c));
  }
};

class PrefixSpace : public Respeller {
  void respell(std::string_view piece, bool, std::string& out) const override {
    if (!piece.starts_with(' ')) out += ' ';
    out += piece;
  }
};

class MetaspaceSpelling : public Respeller {
 public:
  enum class Scheme { kFirst, kNever, kAlways };
  MetaspaceSpelling(std::string replacement, Scheme scheme)
      : replacement_(std::move(replacement)), scheme_(scheme) {}

 private:
  void respell(std::string_view piece, bool at_start, std::string& out) const override {
    const bool wanted = scheme_ == Scheme::kAlways || (scheme_ == Scheme::kFirst && at_start);
    if (wanted && !piece.starts_with(replacement_) && !piece.starts_with(' ')) out += replacement_;
    std::size_t done = 0;
    for (std::size_t at = piece.find(' '); at != std::string_view::npos;
         at = piece.find(' ', done)) {
      out.append(piece, done, at - done);
      out += replacement_;
      done = at + 1;
    }
    out.append(piece, done);
  }
  std::string replacement_;
  Scheme scheme_;
};

SplitBehavior parse_behavior(const Json& json, std::string_view where) {
  const Json* const field = find_field(json, "behavior");
  const std::string name = field == nullptr ? "Isolated" : field->as_string("behavior");
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  fail(ErrorCode::kUnsupported, "{}: split behavior \"{}\" is not known", where, name);
}

using Steps = std::vector<std::unique_ptr<const PreTokenizer>>;

void add_metaspace(const Json& json, std::string_view where, Steps& steps) {
  const std::string replacement = json.at("replacement", where).as_string("replacement");
  TENON_CHECK(utf8::to_utf32(replacement).size() == 1, ErrorCode::kCorrupt,
              "{}: Metaspace replacement \"{}\", expected one character", where, replacement);
  std::string name = string_field(json, "prepend_scheme", "always");
  if (!bool_field(json, "add_prefix_space", true)) {
    TENON_CHECK(name == "never" || find_field(json, "prepend_scheme") == nullptr,
                ErrorCode::kCorrupt,
                "{}: Metaspace add_prefix_space false with prepend_scheme \"{}\"", where, name);
    name = "never";
  }
  using Scheme = MetaspaceSpelling::Scheme;
  TENON_CHECK(name == "first" || name == "never" || name == "always", ErrorCode::kUnsupported,
              "{}: Metaspace prepend_scheme \"{}\" is not known", where, name);
  const Scheme scheme = name == "first"   ? Scheme::kFirst
                        : name == "never" ? Scheme::kNever
                                          : Scheme::kAlways;
  steps.push_back(std::make_unique<MetaspaceSpelling>(replacement, scheme));
  if (bool_field(json, "split", true))
    steps.push_back(
        make_split(SplitPattern::literal(replacement), SplitBehavior::kMergedWithNext, false));
}

void add_steps(const Json& json, std::string_view where, Steps& steps) {
  const std::string& type = type_of(json, where);
  const auto add_characters = [&](CharacterSplitter::Test test, SplitBehavior behavior) {
    steps.push_back(std::make_unique<CharacterSplitter>(std::move(test), behavior));
  };
  const auto is_space = [](char32_t c) { return unicode::white_space().contains(c); };
  const auto is_punctuation = [](char32_t c) { return unicode::punctuation().contains(c); };
  if (type == "Sequence") {
    for (const Json& step : json.at("pretokenizers", where).as_array("pretokenizers"))
      add_steps(step, where, steps);
  } else if (type == "ByteLevel") {
    if (bool_field(json, "add_prefix_space", true))
      steps.push_back(std::make_unique<PrefixSpace>());
    if (bool_field(json, "use_regex", true))
      steps.push_back(
          make_split(SplitPattern::regex(kGpt2Pattern, where), SplitBehavior::kIsolated, false));
    steps.push_back(make_byte_level_spelling());
  } else if (type == "Split") {
    steps.push_back(make_split(make_pattern(json, where), parse_behavior(json, where),
                               bool_field(json, "invert", false)));
  } else if (type == "Metaspace") {
    add_metaspace(json, where, steps);
  } else if (type == "Whitespace") {
    steps.push_back(std::make_unique<WhitespaceSplitter>());
  } else if (type == "WhitespaceSplit") {
    add_characters(is_space, SplitBehavior::kRemoved);
  } else if (type == "Digits") {
    add_characters([](char32_t c) { return unicode::numeric().contains(c); },
                   bool_field(json, "individual_digits", false) ? SplitBehavior::kIsolated
                                                                : SplitBehavior::kContiguous);
  } else if (type == "Punctuation") {
    add_characters(is_punctuation, parse_behavior(json, where));
  } else if (type == "BertPreTokenizer") {
    add_characters(is_space, SplitBehavior::kRemoved);
    add_characters(is_punctuation, SplitBehavior::kIsolated);
  } else if (type == "CharDelimiterSplit") {
    const std::u32string delimiter =
        utf8::to_utf32(json.at("delimiter", where).as_string("delimiter"));
    TENON_CHECK(delimiter.size() == 1, ErrorCode::kCorrupt,
                "{}: delimiter of {} characters, expected one", where, delimiter.size());
    add_characters([c = delimiter[0]](char32_t x) { return x == c; }, SplitBehavior::kRemoved);
  } else if (type == "FixedLength") {
    const Json* const field = find_field(json, "length");
    const std::int64_t length = field == nullptr ? 5 : field->as_int("length");
    TENON_CHECK(length > 0, ErrorCode::kCorrupt, "{}: FixedLength of {}", where, length);
    steps.push_back(std::make_unique<FixedLength>(static_cast<std::size_t>(length)));
  } else {
    fail(ErrorCode::kUnsupported, "{}: pre-tokenizer type \"{}\" is not known", where, type);
  }
}

}  // namespace

std::unique_ptr<const PreTokenizer> make_split(SplitPattern pattern, SplitBehavior behavior,
                                               bool invert) {
  return std::make_unique<PatternSplitter>(std::move(pattern), behavior, invert);
}

std::unique_ptr<const PreTokenizer> make_byte_level_spelling() {
  return std::make_unique<ByteLevelSpelling>();
}

PreTokenizerChain make_pre_tokenizer(const Json& json, bool strip_byte_level,
                                     std::string_view where) {
  PreTokenizerChain chain;
  add_steps(json, where, chain.steps);
  if (strip_byte_level && !chain.steps.empty() &&
      dynamic_cast<const ByteLevelSpelling*>(chain.steps.back().get()) != nullptr) {
    chain.steps.pop_back();
    chain.ends_byte_level = true;
  }
  return chain;
}

}  // namespace tenon
