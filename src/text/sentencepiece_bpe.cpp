// SPDX-License-Identifier: Apache-2.0
#include "text/sentencepiece_bpe.h"

#include <algorithm>
#include <functional>

#include "core/check.h"
#include "text/byte_level.h"
#include "text/code_points.h"

namespace tenon {
namespace {

constexpr std::string_view kMetaspace = "\xE2\x96\x81";  // U+2581
constexpr std::int32_t kFrozenBase = -2;  // a symbol of id -2 - n is the user-defined piece n

Vocabulary vocabulary_of(const std::vector<SentencePiece>& pieces, std::string_view where) {
  std::vector<VocabularyEntry> entries;
  entries.reserve(pieces.size());
  for (std::size_t i = 0; i < pieces.size(); ++i)
    entries.push_back({pieces[i].text, static_cast<std::int64_t>(i)});
  return Vocabulary(entries, where);
}

}  // namespace

SentencePieceBpe::SentencePieceBpe(const std::vector<SentencePiece>& pieces,
                                   const SentencePieceBpeOptions& options, std::string_view where)
    : TokenModel(vocabulary_of(pieces, where)), options_(options) {
  std::vector<float> scores;
  for (const SentencePiece& piece : pieces) scores.push_back(piece.score);
  std::sort(scores.begin(), scores.end(), std::greater<float>());
  scores.erase(std::unique(scores.begin(), scores.end()), scores.end());
  mergeable_ = StringIndex(pieces.size());
  std::vector<std::pair<std::string_view, std::int32_t>> frozen;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const auto id = static_cast<std::int32_t>(i);
    const auto rank =
        std::lower_bound(scores.begin(), scores.end(), pieces[i].score, std::greater<float>());
    ranks_.push_back(static_cast<std::uint32_t>(rank - scores.begin()));
    const PieceType type = pieces[i].type;
    unused_.push_back(type == PieceType::kUnused);
    has_unused_ = has_unused_ || unused_.back();
    const bool user = type == PieceType::kUserDefined;
    if (type == PieceType::kNormal || type == PieceType::kUnused || user)
      mergeable_.insert(vocabulary_.text(id), id);
    if (user && options_.freeze_user_defined) frozen.emplace_back(vocabulary_.text(id), id);
  }
  frozen_ = ByteTrie(std::move(frozen));
  for (std::size_t byte = 0; byte < 256; ++byte) {
    byte_pieces_[byte] = vocabulary_.find(byte_piece(static_cast<std::uint8_t>(byte)));
    options_.byte_fallback = options_.byte_fallback && byte_pieces_[byte] >= 0;
  }
  whole_ = std::make_unique<std::atomic<std::uint8_t>[]>(pieces.size());
  cut_at_metaspace_ = may_cut_at_metaspace();
}

/// As in BpeModel: no piece crosses from text to a U+2581, so words can be encoded apart.
bool SentencePieceBpe::may_cut_at_metaspace() const {
  if (has_unused_ || mergeable_.find(kMetaspace) < 0) return false;
  for (std::int32_t id = 0; id < vocabulary_.id_end(); ++id) {
    std::string_view text = vocabulary_.text(id);
    if (mergeable_.find(text) != id) continue;
    while (text.starts_with(kMetaspace)) text.remove_prefix(kMetaspace.size());
    if (text.find(kMetaspace) != std::string_view::npos) return false;
  }
  return true;
}

void SentencePieceBpe::encode(std::string_view piece, std::vector<std::int32_t>& out) const {
  TENON_CHECK(piece.size() < BpeMerge::kNone, ErrorCode::kInvalidArgument,
              "[tokenizer] a text of {} bytes, expected less than 4 GiB", piece.size());
  bool last_unknown = false;
  if (!cut_at_metaspace_) return encode_segment(piece, out, last_unknown);
  for (std::size_t begin = 0; begin < piece.size();) {
    std::size_t end = begin;
    while (piece.substr(end).starts_with(kMetaspace)) end += kMetaspace.size();
    end = std::min(piece.find(kMetaspace, end), piece.size());
    encode_segment(piece.substr(begin, end - begin), out, last_unknown);
    begin = end;
  }
}

void SentencePieceBpe::encode_segment(std::string_view text, std::vector<std::int32_t>& out,
                                      bool& last_unknown) const {
  const std::int32_t whole = mergeable_.find(text);
  std::uint8_t state = kNo;
  if (whole >= 0) {
    state = whole_[static_cast<std::size_t>(whole)].load(std::memory_order_relaxed);
    if (state == kYes) {
      last_unknown = false;
      return out.push_back(whole);
    }
  }
  thread_local std::vector<BpeSymbol> symbols;
  symbols.clear();
  split(text, symbols);
  merge_symbols(symbols, [&](const BpeSymbol& left, const BpeSymbol& right) -> BpeMerge {
    if (left.id <= kFrozenBase || right.id <= kFrozenBase) return {};
    const std::int32_t id = mergeable_.find(text.substr(left.begin, right.end - left.begin));
    return id < 0 ? BpeMerge{} : BpeMerge{ranks_[static_cast<std::size_t>(id)], id};
  });
  const bool yes = symbols.size() == 1 && symbols[0].id == whole;
  for (const BpeSymbol& symbol : symbols)
    emit(text.substr(symbol.begin, symbol.end - symbol.begin), symbol.id, out, last_unknown);
  if (whole >= 0 && state == kUnknown && !unused_[static_cast<std::size_t>(whole)])
    whole_[static_cast<std::size_t>(whole)].store(yes ? kYes : kNo, std::memory_order_relaxed);
  if (symbols.capacity() > (1 << 16)) std::vector<BpeSymbol>().swap(symbols);
}

void SentencePieceBpe::split(std::string_view text, std::vector<BpeSymbol>& symbols) const {
  for (std::size_t at = 0; at < text.size();) {
    const ByteTrie::Match match =
        frozen_.empty() ? ByteTrie::Match{} : frozen_.longest_prefix(text.substr(at));
    const std::size_t length =
        match.length > 0 ? match.length : static_cast<std::size_t>(utf8_length(text[at]));
    const std::int32_t id =
        match.length > 0 ? kFrozenBase - match.value : mergeable_.find(text.substr(at, length));
    symbols.push_back(
        {id, static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(at + length)});
    at += length;
  }
}

void SentencePieceBpe::emit(std::string_view text, std::int32_t id, std::vector<std::int32_t>& out,
                            bool& last_unknown) const {
  if (id <= kFrozenBase) id = kFrozenBase - id;
  if (id >= 0 && unused_[static_cast<std::size_t>(id)]) return emit_unused(text, out, last_unknown);
  if (id >= 0) {
    last_unknown = false;
    return out.push_back(id);
  }
  if (options_.byte_fallback) {
    for (const char c : text) out.push_back(byte_pieces_[static_cast<unsigned char>(c)]);
  } else if (!last_unknown) {  // a run of unknown characters is one unknown piece
    TENON_CHECK(options_.unk_id >= 0, ErrorCode::kCorrupt,
                "[tokenizer] the text needs an unknown piece, and the tokenizer has none");
    out.push_back(options_.unk_id);
  }
  last_unknown = true;
}

void SentencePieceBpe::emit_unused(std::string_view text, std::vector<std::int32_t>& out,
                                   bool& last_unknown) const {
  // What the piece was merged from is what merging gives when the last merge is left out: merge its
  // characters again, but never into the whole.
  std::vector<BpeSymbol> symbols;
  split(text, symbols);
  if (symbols.size() == 1) {
    last_unknown = false;
    return out.push_back(mergeable_.find(text));
  }
  merge_symbols(symbols, [&](const BpeSymbol& left, const BpeSymbol& right) -> BpeMerge {
    if (left.id <= kFrozenBase || right.id <= kFrozenBase) return {};
    if (right.end - left.begin == text.size()) return {};
    const std::int32_t id = mergeable_.find(text.substr(left.begin, right.end - left.begin));
    return id < 0 ? BpeMerge{} : BpeMerge{ranks_[static_cast<std::size_t>(id)], id};
  });
  for (const BpeSymbol& symbol : symbols)
    emit(text.substr(symbol.begin, symbol.end - symbol.begin), symbol.id, out, last_unknown);
}

}  // namespace tenon
