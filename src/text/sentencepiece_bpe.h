// SentencePiece's byte-pair encoding: two neighbours merge where their joined text is a piece, the
// piece of the highest score first. User-defined pieces are cut out and never merge.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <vector>

#include "text/bpe_merge.h"
#include "text/byte_trie.h"
#include "text/sentencepiece_model.h"
#include "text/token_model.h"

namespace tenon {

struct SentencePieceBpeOptions {
  std::int32_t unk_id = -1;
  bool byte_fallback = false;
  bool freeze_user_defined = true;
};

class SentencePieceBpe : public TokenModel {
 public:
  SentencePieceBpe(const std::vector<SentencePiece>& pieces, const SentencePieceBpeOptions& options,
                   std::string_view where);
  void encode(std::string_view piece, std::vector<std::int32_t>& out) const override;

 private:
  void encode_segment(std::string_view text, std::vector<std::int32_t>& out,
                      bool& last_unknown) const;
  void split(std::string_view text, std::vector<BpeSymbol>& symbols) const;
  void emit(std::string_view text, std::int32_t id, std::vector<std::int32_t>& out,
            bool& last_unknown) const;
  /// Takes a piece that is marked unused apart again, into what it was merged from.
  void emit_unused(std::string_view text, std::vector<std::int32_t>& out, bool& last_unknown) const;
  bool may_cut_at_metaspace() const;

  SentencePieceBpeOptions options_;
  std::string buffer_;
  StringIndex mergeable_;             // pieces that text can become
  std::vector<std::uint32_t> ranks_;  // by id: 0 for the highest score
  std::vector<bool> unused_;          // by id
  bool has_unused_ = false;
  ByteTrie frozen_;  // user-defined pieces
  std::array<std::int32_t, 256> byte_pieces_{};
  bool cut_at_metaspace_ = false;
  enum Whole : std::uint8_t { kUnknown, kYes, kNo };
  std::unique_ptr<std::atomic<std::uint8_t>[]> whole_;  // see BpeModel
};

}  // namespace tenon
