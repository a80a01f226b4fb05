// BERT's WordPiece (greedy longest prefix) and plain look-up of whole words.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "text/byte_trie.h"
#include "text/token_model.h"

namespace tenon {

struct WordPieceModelOptions {
  std::string unk_token = "[UNK]";
  std::string continuing_prefix = "##";
  std::int64_t max_characters = 100;  // a longer word is unknown
};

class WordPieceModel : public TokenModel {
 public:
  WordPieceModel(Vocabulary vocabulary, WordPieceModelOptions options);
  void encode(std::string_view piece, std::vector<std::int32_t>& out) const override;

 private:
  WordPieceModelOptions options_;
  ByteTrie initial_;     // pieces that begin a word
  ByteTrie continuing_;  // pieces that go on, without their prefix
  std::int32_t unk_id_;
};

class WordLevelModel : public TokenModel {
 public:
  WordLevelModel(Vocabulary vocabulary, std::string unk_token);
  void encode(std::string_view piece, std::vector<std::int32_t>& out) const override;

 private:
  std::string unk_token_;
  std::int32_t unk_id_;
};

}  // namespace tenon
