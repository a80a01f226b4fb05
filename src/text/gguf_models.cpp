// SPDX-License-Identifier: Apache-2.0
#include "text/gguf_models.h"

#include "core/check.h"
#include "text/bert_normalizer.h"
#include "text/sentencepiece_bpe.h"
#include "text/sentencepiece_text.h"
#include "text/unicode.h"
#include "text/unigram.h"
#include "text/wordpiece.h"

namespace tenon {
namespace {

constexpr std::string_view kMetaspace = "\xE2\x96\x81";  // U+2581, in front of a word's first piece

PieceType type_of(const GgufTokenizerData& data, std::size_t i) {
  const std::int32_t type = data.token_types[i];
  return type >= 1 && type <= 6 ? static_cast<PieceType>(type) : PieceType::kNormal;
}

std::vector<std::string> user_defined(const GgufTokenizerData& data) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < data.tokens.size(); ++i)
    if (type_of(data, i) == PieceType::kUserDefined) out.push_back(data.tokens[i]);
  return out;
}

std::int32_t unknown_id(const GgufTokenizerData& data) {
  if (data.unk_id) return *data.unk_id;
  for (std::size_t i = 0; i < data.tokens.size(); ++i)
    if (type_of(data, i) == PieceType::kUnknown) return static_cast<std::int32_t>(i);
  return -1;
}

/// BERT's clean-up; words are then marked as the vocabulary marks them.
class BertWords : public Normalizer {
 public:
  void apply(NormalizedText& text) const override {
    text.text = bert_normalize(text.text, BertNormalizerOptions{});
  }
};

/// The vocabulary as a WordPiece model spells it: a word's first piece plain, others with "##".
class MarkedWordPiece : public TokenModel {
 public:
  MarkedWordPiece(Vocabulary vocabulary, std::int32_t unk) : TokenModel(std::move(vocabulary)) {
    std::vector<std::pair<std::string_view, std::int32_t>> entries;
    for (std::int32_t id = 0; id < vocabulary_.id_end(); ++id)
      entries.emplace_back(vocabulary_.text(id), id);
    trie_ = ByteTrie(std::move(entries));
    unk_ = unk;
  }

  void encode(std::string_view piece, std::vector<std::int32_t>& out) const override {
    const std::size_t first = out.size();
    std::string word(kMetaspace);
    word += piece;
    for (std::string_view rest = word; !rest.empty();) {
      const ByteTrie::Match match = trie_.longest_prefix(rest);
      if (match.length == 0) {
        out.resize(first);
        if (unk_ >= 0) out.push_back(unk_);
        return;
      }
      out.push_back(match.value);
      rest.remove_prefix(match.length);
    }
  }

 private:
  ByteTrie trie_;
  std::int32_t unk_;
};

}  // namespace

void make_gguf_sentencepiece(const GgufTokenizerData& data, Tokenizer::Parts& parts) {
  std::vector<SentencePiece> pieces;
  bool bytes = false;
  for (std::size_t i = 0; i < data.tokens.size(); ++i) {
    // Unused pieces take part like any other here.
    PieceType type = type_of(data, i);
    bytes = bytes || type == PieceType::kByte;
    if (type == PieceType::kUnused) type = PieceType::kNormal;
    pieces.push_back({data.tokens[i], data.scores[i], type});
  }
  SentencePieceNormalization options;
  options.add_dummy_prefix = data.add_space_prefix.value_or(true);
  options.remove_extra_whitespaces = false;
  parts.normalizer = make_sentencepiece_normalizer(options, {}, data.where);
  parts.model = std::make_unique<SentencePieceBpe>(
      pieces,
      SentencePieceBpeOptions{
          .unk_id = unknown_id(data), .byte_fallback = bytes, .freeze_user_defined = false},
      data.where);
  parts.decoder.push_back(make_sentencepiece_decoder(options.add_dummy_prefix, false));
}

void make_gguf_unigram(const GgufTokenizerData& data, Tokenizer::Parts& parts) {
  std::vector<UnigramPiece> pieces;
  for (std::size_t i = 0; i < data.tokens.size(); ++i) {
    const PieceType type = type_of(data, i);
    pieces.push_back({.text = data.tokens[i],
                      .score = data.scores[i],
                      .matches = type == PieceType::kNormal || type == PieceType::kUserDefined ||
                                 type == PieceType::kUnused,
                      .preferred = type == PieceType::kUserDefined});
  }
  UnigramOptions options;
  options.unk_id = unknown_id(data);
  if (*options.unk_id < 0) options.unk_id.reset();
  parts.model = std::make_unique<UnigramModel>(pieces, options, data.where);
  SentencePieceNormalization normalization;
  normalization.precompiled_charsmap = data.precompiled_charsmap;
  normalization.add_dummy_prefix = data.add_space_prefix.value_or(true);
  normalization.remove_extra_whitespaces = data.remove_extra_whitespaces.value_or(true);
  parts.normalizer = make_sentencepiece_normalizer(normalization, user_defined(data), data.where);
  parts.decoder.push_back(make_sentencepiece_decoder(normalization.add_dummy_prefix,
                                                     normalization.remove_extra_whitespaces));
}

void make_gguf_wordpiece(const GgufTokenizerData& data, Tokenizer::Parts& parts) {
  std::vector<VocabularyEntry> entries;
  for (std::size_t i = 0; i < data.tokens.size(); ++i)
    entries.push_back({data.tokens[i], static_cast<std::int64_t>(i)});
  parts.model =
      std::make_unique<MarkedWordPiece>(Vocabulary(entries, data.where), unknown_id(data));
  parts.normalizer = std::make_unique<BertWords>();
  Json pre = Json::object();
  pre.set("type", Json("BertPreTokenizer"));
  parts.pre_tokenizer = make_pre_tokenizer(pre, false, data.where);
  parts.decoder.push_back(make_sentencepiece_decoder(true, false));
}

}  // namespace tenon
