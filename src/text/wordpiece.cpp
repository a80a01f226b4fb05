// SPDX-License-Identifier: Apache-2.0
#include "text/wordpiece.h"

#include "core/check.h"
#include "text/code_points.h"

namespace tenon {
namespace {

std::int32_t require_unknown(std::int32_t id, std::string_view token) {
  TENON_CHECK(id >= 0, ErrorCode::kCorrupt,
              "[tokenizer] the text needs unk_token \"{}\", missing from the vocabulary", token);
  return id;
}

}  // namespace

WordPieceModel::WordPieceModel(Vocabulary vocabulary, WordPieceModelOptions options)
    : TokenModel(std::move(vocabulary)),
      options_(std::move(options)),
      unk_id_(vocabulary_.find(options_.unk_token)) {
  std::vector<std::pair<std::string_view, std::int32_t>> initial, continuing;
  for (std::int32_t id = 0; id < vocabulary_.id_end(); ++id) {
    if (!vocabulary_.contains(id)) continue;
    std::string_view text = vocabulary_.text(id);
    initial.emplace_back(text, id);
    if (!text.starts_with(options_.continuing_prefix)) continue;
    text.remove_prefix(options_.continuing_prefix.size());
    continuing.emplace_back(text, id);
  }
  initial_ = ByteTrie(std::move(initial));
  continuing_ = ByteTrie(std::move(continuing));
}

void WordPieceModel::encode(std::string_view piece, std::vector<std::int32_t>& out) const {
  std::int64_t characters = 0;
  for (const char c : piece) characters += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  const std::size_t first = out.size();
  std::string_view rest = piece;
  bool known = characters <= options_.max_characters;
  while (known && !rest.empty()) {
    const ByteTrie& trie = rest.size() == piece.size() ? initial_ : continuing_;
    // The longest piece that ends between characters.
    std::size_t length = 0;
    std::int32_t id = -1;
    std::uint32_t node = ByteTrie::kRoot;
    for (std::size_t i = 0; i < rest.size(); ++i) {
      node = trie.step(node, static_cast<std::uint8_t>(rest[i]));
      if (node == ByteTrie::kNone) break;
      const bool between =
          i + 1 == rest.size() || (static_cast<unsigned char>(rest[i + 1]) & 0xC0) != 0x80;
      if (trie.value(node) >= 0 && between) {
        length = i + 1;
        id = trie.value(node);
      }
    }
    known = length > 0;
    if (!known) break;
    out.push_back(id);
    rest.remove_prefix(length);
  }
  if (known) return;
  out.resize(first);
  out.push_back(require_unknown(unk_id_, options_.unk_token));
}

WordLevelModel::WordLevelModel(Vocabulary vocabulary, std::string unk_token)
    : TokenModel(std::move(vocabulary)),
      unk_token_(std::move(unk_token)),
      unk_id_(vocabulary_.find(unk_token_)) {}

void WordLevelModel::encode(std::string_view piece, std::vector<std::int32_t>& out) const {
  const std::int32_t id = vocabulary_.find(piece);
  out.push_back(id >= 0 ? id : require_unknown(unk_id_, unk_token_));
}

}  // namespace tenon
