// The unigram language model: of all ways to cut a text into pieces the one with the highest sum of
// scores (Viterbi). Characters that no piece covers become the unknown piece, runs of them one.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "text/byte_trie.h"
#include "text/token_model.h"

namespace tenon {

struct UnigramPiece {
  std::string text;
  double score = 0;
  bool matches = true;     // takes part in the search
  bool preferred = false;  // a user-defined symbol: beats every other cut
};

struct UnigramOptions {
  std::optional<std::int64_t> unk_id;
  bool byte_fallback = false;
  // SentencePiece itself: sums are rounded to float, and unknown text is never looked up again.
  bool sentencepiece = false;
};

class UnigramModel : public TokenModel {
 public:
  UnigramModel(const std::vector<UnigramPiece>& pieces, const UnigramOptions& options,
               std::string_view where);
  void encode(std::string_view piece, std::vector<std::int32_t>& out) const override;

 private:
  void add_unknown(std::string_view text, std::vector<std::int32_t>& out) const;

  ByteTrie trie_;
  std::vector<double> scores_;
  double unknown_score_ = 0;
  std::int32_t unk_id_ = -1;
  bool byte_fallback_ = false;
  bool sentencepiece_ = false;
  std::array<std::int32_t, 256> byte_pieces_{};
};

}  // namespace tenon
