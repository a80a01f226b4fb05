// SPDX-License-Identifier: Apache-2.0
#include "text/added_tokens.h"

#include <algorithm>

#include "core/check.h"
#include "text/unicode.h"

namespace tenon {
namespace {

std::size_t character_begin(std::string_view text, std::size_t end) {
  std::size_t at = end - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

bool ends_with_word(std::string_view text) {
  if (text.empty()) return false;
  const char* p = text.data() + character_begin(text, text.size());
  return unicode::word().contains(next_code_point(p));
}

bool starts_with_word(std::string_view text) {
  if (text.empty()) return false;
  const char* p = text.data();
  return unicode::word().contains(next_code_point(p));
}

std::size_t trailing_space_begin(std::string_view text) {
  std::size_t end = text.size();
  while (end > 0) {
    const std::size_t begin = character_begin(text, end);
    const char* p = text.data() + begin;
    if (!unicode::white_space().contains(next_code_point(p))) break;
    end = begin;
  }
  return end;
}

std::size_t leading_space_end(std::string_view text) {
  const char* p = text.data();
  const char* const end = p + text.size();
  while (p < end) {
    const char* const before = p;
    if (!unicode::white_space().contains(next_code_point(p)))
      return static_cast<std::size_t>(before - text.data());
  }
  return text.size();
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, const Vocabulary& vocabulary,
                         const Normalizer* normalizer) {
  std::int32_t next = vocabulary.size();
  for (AddedToken& token : tokens) {
    if (token.content.empty()) continue;
    std::int32_t id = id_of(token.content);
    if (id < 0) id = vocabulary.find(token.content);
    if (id < 0) id = next++;
    ids_[token.content] = id;
    normalized_.erase(id);
    if (token.normalized && normalizer != nullptr) {
      NormalizedText text{token.content};
      normalizer->apply(text);
      if (text.text != token.content) normalized_[id] = std::move(text.text);
    }
    if (token.special) special_.insert(token.content);
    id_end_ = std::max(id_end_, id + 1);
    tokens_[id] = std::move(token);
  }
  std::vector<std::pair<std::string_view, std::int32_t>> patterns[2];
  for (const auto& [id, token] : tokens_) {
    if (token.normalized)
      patterns[1].emplace_back(text_for_decoding(id), id);
    else
      patterns[0].emplace_back(token.content, id);
  }
  for (int i = 0; i < 2; ++i) tries_[i] = ByteTrie(std::move(patterns[i]));
}

const AddedToken* AddedTokens::find(std::int32_t id) const {
  const auto found = tokens_.find(id);
  return found == tokens_.end() ? nullptr : &found->second;
}

std::int32_t AddedTokens::id_of(std::string_view content) const {
  const auto found = ids_.find(std::string(content));
  return found == ids_.end() ? -1 : found->second;
}

const std::string& AddedTokens::text_for_decoding(std::int32_t id) const {
  const auto found = normalized_.find(id);
  return found != normalized_.end() ? found->second : tokens_.at(id).content;
}

void AddedTokens::split(std::string_view text, bool normalized, bool parse_special,
                        std::vector<TextFragment>& out) const {
  out.clear();
  const ByteTrie& trie = tries_[normalized ? 1 : 0];
  std::size_t done = 0;  // text up to here is cut
  if (!trie.empty()) {
    for (std::size_t at = 0; at < text.size();) {
      if (trie.step(ByteTrie::kRoot, static_cast<std::uint8_t>(text[at])) == ByteTrie::kNone) {
        ++at;
        continue;
      }
      const ByteTrie::Match match = trie.longest_prefix(text.substr(at));
      if (match.length == 0) {
        ++at;
        continue;
      }
      std::size_t begin = at, end = at + match.length;
      at = end;
      const AddedToken& token = *find(match.value);
      if (!parse_special && is_special_text(token.content)) continue;
      if (token.single_word &&
          (ends_with_word(text.substr(0, begin)) || starts_with_word(text.substr(end))))
        continue;
      if (token.lstrip) begin = std::max(trailing_space_begin(text.substr(0, begin)), done);
      if (token.rstrip) end += leading_space_end(text.substr(end));
      if (done < begin) out.push_back({done, begin, -1});
      out.push_back({begin, end, match.value});
      done = end;
    }
  }
  if (done < text.size()) out.push_back({done, text.size(), -1});
}

}  // namespace tenon
