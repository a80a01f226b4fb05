// Puts a tokenizer together from GGUF metadata: the model kind, its special tokens, its defaults.
// SPDX-License-Identifier: Apache-2.0
#include "text/gguf_tokenizer.h"

#include <algorithm>

#include "core/check.h"
#include "core/utf8.h"
#include "text/bpe.h"
#include "text/byte_level.h"
#include "text/gguf_models.h"
#include "text/tokenizer_loaders.h"
#include "text/unicode.h"

namespace tenon {
namespace {

enum TokenType { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };

class NfcNormalizer : public Normalizer {
 public:
  void apply(NormalizedText& text) const override {
    text.text = unicode::normalize(text.text, unicode::Form::kNfc);
  }
};

/// The data with every hole filled and every length checked.
GgufTokenizerData checked(GgufTokenizerData data) {
  const std::size_t count = data.tokens.size();
  TENON_CHECK(count > 0, ErrorCode::kCorrupt, "{}: no tokens", data.where);
  TENON_CHECK(data.scores.empty() || data.scores.size() >= count, ErrorCode::kCorrupt,
              "{}: {} scores for {} tokens", data.where, data.scores.size(), count);
  TENON_CHECK(data.token_types.empty() || data.token_types.size() >= count, ErrorCode::kCorrupt,
              "{}: {} token types for {} tokens", data.where, data.token_types.size(), count);
  data.scores.resize(count, 0.0f);
  data.token_types.resize(count, kNormal);
  for (std::size_t i = 0; i < count; ++i) {
    if (!utf8::is_valid(data.tokens[i])) data.tokens[i] = utf8::replace_invalid(data.tokens[i]);
    if (data.tokens[i].empty()) data.tokens[i] = fmt::format("[EMPTY_{}]", i);
  }
  for (std::optional<std::int32_t>* const id :
       {&data.bos_id, &data.eos_id, &data.unk_id, &data.pad_id, &data.sep_id})
    TENON_CHECK(!*id || (**id >= 0 && static_cast<std::size_t>(**id) < count), ErrorCode::kCorrupt,
                "{}: a special token id of {} among {} tokens", data.where, **id, count);
  return data;
}

Vocabulary vocabulary_of(const GgufTokenizerData& data) {
  std::vector<VocabularyEntry> entries;
  entries.reserve(data.tokens.size());
  for (std::size_t i = 0; i < data.tokens.size(); ++i)
    entries.push_back({data.tokens[i], static_cast<std::int64_t>(i)});
  return Vocabulary(entries, data.where);
}

void make_byte_level(const GgufTokenizerData& data, Tokenizer::Parts& parts) {
  const GgufPreType type = gguf_pre_type(data.pre, data.where);
  if (type.nfc) parts.normalizer = std::make_unique<NfcNormalizer>();
  for (const char* const pattern : type.patterns)
    parts.pre_tokenizer.steps.push_back(
        make_split(SplitPattern::regex(pattern, data.where), SplitBehavior::kIsolated, false));
  BpeMergeList merges;
  merges.reserve(data.merges.size());
  for (const std::string& merge : data.merges) {
    const std::size_t space = merge.find(' ', 1);  // a piece may begin with a space
    TENON_CHECK(space != std::string::npos, ErrorCode::kCorrupt,
                "{}: merge \"{}\", expected two pieces and a space", data.where, merge);
    merges.emplace_back(merge.substr(0, space), merge.substr(space + 1));
  }
  BpeOptions options;
  options.byte_level = true;
  options.first_merge_wins = true;
  options.ignore_merges = type.ignore_merges;
  parts.model = std::make_unique<BpeModel>(vocabulary_of(data), merges, options, data.where);
  parts.decoder.push_back(make_byte_level_decoder());
}

void add_special_tokens(const GgufTokenizerData& data, Tokenizer::Parts& parts) {
  std::vector<AddedToken> added;
  for (std::size_t i = 0; i < data.tokens.size(); ++i) {
    const std::int32_t type = data.token_types[i];
    if (type != kControl && type != kUserDefined && type != kUnknown) continue;
    AddedToken token;
    token.content = data.tokens[i];
    token.normalized = false;
    token.special = type != kUserDefined;
    // Their text is plain, whatever alphabet the decoder expects.
    if (data.model == "gpt2")
      parts.decoder_text[static_cast<std::int32_t>(i)] = to_byte_level(token.content);
    added.push_back(std::move(token));
  }
  parts.added = AddedTokens(std::move(added), parts.model->vocabulary(), nullptr);
}

}  // namespace

Tokenizer::Parts parts_from_gguf(const GgufTokenizerData& given) {
  const GgufTokenizerData data = checked(given);
  Tokenizer::Parts parts;
  parts.bos = data.bos_id;
  parts.eos = data.eos_id;
  parts.unk = data.unk_id;
  parts.pad = data.pad_id;
  bool add_bos = false, add_eos = false;
  if (data.model == "gpt2") {
    make_byte_level(data, parts);
    add_bos = gguf_pre_type(data.pre, data.where).add_bos;
  } else if (data.model == "llama") {
    make_gguf_sentencepiece(data, parts);
    add_bos = true;
    if (!parts.bos && data.tokens.size() > 1) parts.bos = 1;
    if (!parts.eos && data.tokens.size() > 2) parts.eos = 2;
  } else if (data.model == "t5") {
    make_gguf_unigram(data, parts);
    add_eos = true;
  } else if (data.model == "bert") {
    make_gguf_wordpiece(data, parts);
  } else {
    fail(ErrorCode::kUnsupported, "{}: tokenizer.ggml.model \"{}\" is not known", data.where,
         data.model);
  }
  add_special_tokens(data, parts);
  add_bos = data.add_bos.value_or(add_bos);
  add_eos = data.add_eos.value_or(add_eos);
  if (data.model == "bert") {
    if (parts.bos) parts.post_processor.prefix = {*parts.bos};
    if (data.sep_id) parts.post_processor.suffix = {*data.sep_id};
  } else {
    if (add_bos && parts.bos) parts.post_processor.prefix = {*parts.bos};
    if (add_eos && parts.eos) parts.post_processor.suffix = {*parts.eos};
  }
  return parts;
}

std::shared_ptr<const Tokenizer> Tokenizer::from_gguf(const GgufTokenizerData& data) {
  return std::make_shared<const Tokenizer>(parts_from_gguf(data));
}

}  // namespace tenon
