// SPDX-License-Identifier: Apache-2.0
#include "text/tokenizer.h"

#include <algorithm>

#include "core/check.h"
#include "core/utf8.h"
#include "text/tokenizer_parts.h"

namespace tenon {

Tokenizer::Tokenizer(Parts parts) : parts_(std::make_unique<const Parts>(std::move(parts))) {}
Tokenizer::~Tokenizer() = default;

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, bool add_special_tokens,
                                            bool parse_special) const {
  std::string repaired;
  if (!utf8::is_valid(text)) {
    repaired = utf8::replace_invalid(text);
    text = repaired;
  }
  std::vector<std::int32_t> out;
  out.reserve(text.size() / 3 + 8);
  const PostProcessor& around = parts_->post_processor;
  if (add_special_tokens) out.insert(out.end(), around.prefix.begin(), around.prefix.end());

  std::vector<TextFragment> fragments, inner;
  parts_->added.split(text, false, parse_special, fragments);
  for (const TextFragment& fragment : fragments) {
    if (fragment.id >= 0) {
      out.push_back(fragment.id);
      continue;
    }
    const std::string_view raw = text.substr(fragment.begin, fragment.end - fragment.begin);
    NormalizedText normalized;
    std::string_view ready = raw;
    if (parts_->normalizer != nullptr) {
      normalized.text = raw;
      parts_->normalizer->apply(normalized);
      ready = normalized.text;
    }
    const bool at_start = fragment.begin == 0 && !normalized.front_removed;
    if (!parts_->added.any(true)) {
      encode_text(ready, at_start, out);
      continue;
    }
    parts_->added.split(ready, true, parse_special, inner);
    for (const TextFragment& part : inner) {
      if (part.id >= 0)
        out.push_back(part.id);
      else
        encode_text(ready.substr(part.begin, part.end - part.begin), at_start && part.begin == 0,
                    out);
    }
  }
  if (add_special_tokens) out.insert(out.end(), around.suffix.begin(), around.suffix.end());
  return out;
}

void Tokenizer::encode_text(std::string_view text, bool starts_original,
                            std::vector<std::int32_t>& out) const {
  if (text.empty()) return;
  PieceList list;
  list.text = text;
  list.starts_original = starts_original;
  list.pieces.push_back({0, text.size()});
  parts_->pre_tokenizer.apply(list);
  for (const TextRange& piece : list.pieces) parts_->model->encode(list.piece(piece), out);
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, bool skip_special_tokens) const {
  DecoderRun run(parts_->decoder);
  for (const std::int32_t id : ids) decode_one(id, skip_special_tokens, run);
  run.finish();
  return run.take();
}

void Tokenizer::decode_one(std::int32_t id, bool skip_special_tokens, DecoderRun& run) const {
  const AddedTokens& added = parts_->added;
  if (const auto other = parts_->decoder_text.find(id); other != parts_->decoder_text.end()) {
    if (!(skip_special_tokens && added.is_special(id))) run.push(other->second);
  } else if (added.find(id) != nullptr) {
    const std::string& text = added.text_for_decoding(id);
    if (!(skip_special_tokens && added.is_special_text(text))) run.push(text);
  } else if (const Vocabulary& vocabulary = parts_->model->vocabulary(); vocabulary.contains(id)) {
    const std::string_view text = vocabulary.text(id);
    if (!(skip_special_tokens && added.is_special_text(text))) run.push(std::string(text));
  }
}

std::int32_t Tokenizer::vocab_size() const {
  return std::max(parts_->model->vocabulary().id_end(), parts_->added.id_end());
}

std::string Tokenizer::token_text(std::int32_t id) const {
  if (const AddedToken* const added = parts_->added.find(id)) return added->content;
  const Vocabulary& vocabulary = parts_->model->vocabulary();
  return vocabulary.contains(id) ? std::string(vocabulary.text(id)) : std::string();
}

std::optional<std::int32_t> Tokenizer::token_id(std::string_view piece) const {
  if (const std::int32_t id = parts_->added.id_of(piece); id >= 0) return id;
  if (const std::int32_t id = parts_->model->vocabulary().find(piece); id >= 0) return id;
  return std::nullopt;
}

bool Tokenizer::is_special(std::int32_t id) const { return parts_->added.is_special(id); }

std::optional<std::int32_t> Tokenizer::bos_id() const { return parts_->bos; }
std::optional<std::int32_t> Tokenizer::eos_id() const { return parts_->eos; }
std::optional<std::int32_t> Tokenizer::pad_id() const { return parts_->pad; }
std::optional<std::int32_t> Tokenizer::unk_id() const { return parts_->unk; }

}  // namespace tenon
