// Cuts normalized text into the pieces that the model encodes one by one.
// Immutable and thread-safe. Pieces are cut, dropped and respelled, never reordered.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "text/split_pattern.h"

namespace tenon {

/// Text and the pieces it is cut into: ranges of `text`, in order, none empty.
struct PieceList {
  std::string_view text;  // the caller's, or `owned`
  std::vector<TextRange> pieces;
  bool starts_original = true;  // the piece at 0 begins where the whole input begins
  std::string owned;
  std::string spare;  // room for respelling
  std::vector<TextRange> new_pieces;
  std::vector<TextRange> matches;

  std::string_view piece(const TextRange& range) const {
    return text.substr(range.begin, range.end - range.begin);
  }
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void apply(PieceList& list) const = 0;
};

/// A chain that was found to end in the byte-level respelling: then that step is left out and the
/// model takes raw bytes instead.
struct PreTokenizerChain {
  std::vector<std::unique_ptr<const PreTokenizer>> steps;
  bool ends_byte_level = false;

  void apply(PieceList& list) const {
    for (const auto& step : steps) step->apply(list);
  }
};

enum class SplitBehavior { kRemoved, kIsolated, kContiguous, kMergedWithPrevious, kMergedWithNext };

/// A step that cuts by a pattern, as "Split" of tokenizer.json.
std::unique_ptr<const PreTokenizer> make_split(SplitPattern pattern, SplitBehavior behavior,
                                               bool invert);
std::unique_ptr<const PreTokenizer> make_byte_level_spelling();

/// From the "pre_tokenizer" member of a tokenizer.json. `strip_byte_level` asks for the shortcut
/// above. Throws Error{kUnsupported} naming an unknown type.
PreTokenizerChain make_pre_tokenizer(const Json& json, bool strip_byte_level,
                                     std::string_view where);

/// The pattern of GPT-2, which "ByteLevel" brings along.
extern const char* const kGpt2Pattern;

}  // namespace tenon
