// Tokens that are cut out of the text before the model sees it: special ones and user's own.
// Matching is leftmost, longest; ids and quirks are those of Hugging Face's AddedVocabulary.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "text/byte_trie.h"
#include "text/normalizer.h"
#include "text/vocabulary.h"

namespace tenon {

struct AddedToken {
  std::string content;
  bool single_word = false;  // only between characters that are no word characters
  bool lstrip = false;       // takes the white space in front of it along
  bool rstrip = false;
  bool normalized = true;  // matched in normalized text, and normalized itself
  bool special = false;    // left out when decoding; matched only where special tokens are parsed
};

/// A stretch of text: a token, or text that is still to be encoded (id -1).
struct TextFragment {
  std::size_t begin;
  std::size_t end;
  std::int32_t id = -1;
};

class AddedTokens {
 public:
  AddedTokens() = default;
  /// Gives each token the id of the model's piece of that text, else the next one behind all.
  AddedTokens(std::vector<AddedToken> tokens, const Vocabulary& vocabulary,
              const Normalizer* normalizer);

  /// Cuts `text` by the tokens matched in raw (or else in normalized) text.
  void split(std::string_view text, bool normalized, bool parse_special,
             std::vector<TextFragment>& out) const;
  bool any(bool normalized) const { return !tries_[normalized ? 1 : 0].empty(); }

  const AddedToken* find(std::int32_t id) const;
  std::int32_t id_of(std::string_view content) const;  ///< -1: none
  /// What decoding sees: the normalized form where the token is matched in that form.
  const std::string& text_for_decoding(std::int32_t id) const;
  bool is_special_text(std::string_view content) const {
    return special_.contains(std::string(content));
  }
  bool is_special(std::int32_t id) const {
    const AddedToken* const token = find(id);
    return token != nullptr && is_special_text(token->content);
  }
  std::int32_t id_end() const { return id_end_; }

 private:
  std::unordered_map<std::int32_t, AddedToken> tokens_;
  std::unordered_map<std::string, std::int32_t> ids_;
  std::unordered_map<std::int32_t, std::string> normalized_;
  std::unordered_set<std::string> special_;
  ByteTrie tries_[2];  // raw, normalized
  std::int32_t id_end_ = 0;
};

}  // namespace tenon
