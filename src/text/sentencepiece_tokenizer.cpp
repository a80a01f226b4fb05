// Puts a tokenizer together from a SentencePiece model.
// SPDX-License-Identifier: Apache-2.0
#include "core/check.h"
#include "text/sentencepiece_bpe.h"
#include "text/sentencepiece_text.h"
#include "text/tokenizer_loaders.h"
#include "text/unigram.h"

namespace tenon {
namespace {

std::unique_ptr<const TokenModel> make_model(const SentencePieceModel& model, std::int32_t unk,
                                             std::string_view where) {
  if (model.kind == SentencePieceModel::Kind::kBpe)
    return std::make_unique<SentencePieceBpe>(
        model.pieces, SentencePieceBpeOptions{.unk_id = unk, .byte_fallback = model.byte_fallback},
        where);
  std::vector<UnigramPiece> pieces;
  for (const SentencePiece& piece : model.pieces)
    pieces.push_back(
        {.text = piece.text,
         .score = piece.score,
         .matches = piece.type == PieceType::kNormal || piece.type == PieceType::kUserDefined,
         .preferred = piece.type == PieceType::kUserDefined});
  UnigramOptions options;
  options.unk_id = unk;
  options.byte_fallback = model.byte_fallback;
  options.sentencepiece = true;
  return std::make_unique<UnigramModel>(pieces, options, where);
}

}  // namespace

Tokenizer::Parts parts_from_sentencepiece(std::span<const std::byte> bytes,
                                          std::string_view where) {
  const SentencePieceModel model = parse_sentencepiece_model(bytes, where);
  Tokenizer::Parts parts;
  std::vector<std::string> protected_pieces;
  std::vector<AddedToken> added;
  for (std::size_t i = 0; i < model.pieces.size(); ++i) {
    const SentencePiece& piece = model.pieces[i];
    const auto id = static_cast<std::int32_t>(i);
    if (piece.type == PieceType::kUserDefined) protected_pieces.push_back(piece.text);
    if (piece.type == PieceType::kUnknown) {
      TENON_CHECK(!parts.unk, ErrorCode::kCorrupt, "{}: two unknown pieces", where);
      parts.unk = id;
      parts.decoder_text[id] = model.unk_surface;
    }
    if (piece.type == PieceType::kControl) {
      AddedToken token;
      token.content = piece.text;
      token.normalized = false;
      token.special = true;
      added.push_back(std::move(token));
    }
  }
  TENON_CHECK(parts.unk.has_value(), ErrorCode::kCorrupt, "{}: no unknown piece", where);
  parts.normalizer = make_sentencepiece_normalizer(model.normalization, protected_pieces, where);
  parts.model = make_model(model, *parts.unk, where);
  parts.added = AddedTokens(std::move(added), parts.model->vocabulary(), nullptr);
  const SentencePieceNormalization& options = model.normalization;
  parts.decoder.push_back(
      make_sentencepiece_decoder(options.add_dummy_prefix, options.remove_extra_whitespaces));
  const auto special = [&](std::int32_t id) -> std::optional<std::int32_t> {
    return parts.added.is_special(id) ? std::optional<std::int32_t>(id) : std::nullopt;
  };
  parts.bos = special(model.bos_id);
  parts.eos = special(model.eos_id);
  parts.pad = special(model.pad_id);
  // The families that begin a text with a token (Llama, Gemma) have one; T5 has none and ends it.
  if (parts.bos)
    parts.post_processor.prefix = {*parts.bos};
  else if (parts.eos)
    parts.post_processor.suffix = {*parts.eos};
  return parts;
}

std::shared_ptr<const Tokenizer> Tokenizer::from_sentencepiece(std::span<const std::byte> model,
                                                               std::string_view where) {
  return std::make_shared<const Tokenizer>(parts_from_sentencepiece(model, where));
}

}  // namespace tenon
