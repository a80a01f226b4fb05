// SPDX-License-Identifier: Apache-2.0
#include "text/bpe.h"

#include <algorithm>
#include <random>

#include "core/check.h"
#include "text/byte_level.h"
#include "text/code_points.h"

namespace tenon {
namespace {

constexpr std::string_view kMetaspace = "\xE2\x96\x81";  // U+2581

}  // namespace

MergeTable::MergeTable(std::size_t expected) {
  std::size_t size = 16;
  while (size < expected * 2 + 2) size *= 2;
  slots_.assign(size, Slot{kEmpty, {}});
  mask_ = size - 1;
  seed_ = std::random_device{}();
}

void MergeTable::set(std::int32_t left, std::int32_t right, BpeMerge merge, bool overwrite) {
  const std::uint64_t key = key_of(left, right);
  std::size_t at = slot_of(key);
  while (slots_[at].key != kEmpty && slots_[at].key != key) at = (at + 1) & mask_;
  if (slots_[at].key == kEmpty || overwrite) slots_[at] = {key, merge};
}

BpeModel::BpeModel(Vocabulary vocabulary, const BpeMergeList& merges, BpeOptions options,
                   std::string_view where)
    : TokenModel(std::move(vocabulary)), options_(std::move(options)), merges_(merges.size()) {
  TENON_CHECK(merges.size() < BpeMerge::kNone, ErrorCode::kCorrupt, "{}: {} merges", where,
              merges.size());
  if (options_.unk_token) unk_id_ = vocabulary_.find(*options_.unk_token);
  const auto id_of = [&](std::string_view piece, std::size_t rank) {
    const std::int32_t id = vocabulary_.find(piece);
    TENON_CHECK(id >= 0, ErrorCode::kCorrupt,
                "{}: merge {} needs the piece \"{}\", missing from the vocabulary", where, rank,
                piece);
    return id;
  };
  const std::size_t prefix = options_.continuing_subword_prefix.size();
  std::string merged;
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    TENON_CHECK(right.size() >= prefix, ErrorCode::kCorrupt,
                "{}: merge {} (\"{}\" \"{}\") lacks the prefix \"{}\"", where, rank, left, right,
                options_.continuing_subword_prefix);
    const std::int32_t left_id = id_of(left, rank), right_id = id_of(right, rank);
    merged.assign(left).append(right, prefix);
    merges_.set(left_id, right_id, {static_cast<std::uint32_t>(rank), id_of(merged, rank)},
                !options_.first_merge_wins);
  }
  has_all_byte_pieces_ = options_.byte_fallback;
  for (int byte = 0; byte < 256; ++byte) {
    std::int32_t& id = byte_pieces_[static_cast<std::size_t>(byte)];
    id = vocabulary_.find(byte_piece(static_cast<std::uint8_t>(byte)));
    has_all_byte_pieces_ = has_all_byte_pieces_ && id >= 0;
  }
  if (options_.byte_level) index_bytes();
  whole_ =
      std::make_unique<std::atomic<std::uint8_t>[]>(static_cast<std::size_t>(vocabulary_.id_end()));
  cut_at_metaspace_ = may_cut_at_metaspace();
}

void BpeModel::index_bytes() {
  std::size_t bytes = 0;
  for (std::int32_t id = 0; id < vocabulary_.id_end(); ++id)
    if (vocabulary_.contains(id)) bytes += vocabulary_.text(id).size();
  byte_buffer_.reserve(bytes + 64);
  byte_index_ = StringIndex(static_cast<std::size_t>(vocabulary_.size()));
  byte_ids_.fill(-1);
  for (std::int32_t id = 0; id < vocabulary_.id_end(); ++id) {
    if (!vocabulary_.contains(id)) continue;
    const std::optional<std::string> raw = from_byte_level(vocabulary_.text(id));
    if (!raw || raw->empty()) continue;  // no text can produce it
    const std::size_t begin = byte_buffer_.size();
    byte_buffer_ += *raw;
    byte_index_.insert(std::string_view(byte_buffer_).substr(begin), id);
    if (raw->size() == 1) byte_ids_[static_cast<unsigned char>((*raw)[0])] = id;
  }
}

/// Where no piece has text in front of a U+2581 that follows other text, merges never cross such
/// a place: cutting there changes no id, and turns one endless piece into words.
bool BpeModel::may_cut_at_metaspace() const {
  if (options_.byte_level || options_.ignore_merges || !options_.end_of_word_suffix.empty() ||
      !options_.continuing_subword_prefix.empty() || vocabulary_.find(kMetaspace) < 0)
    return false;
  for (std::int32_t id = 0; id < vocabulary_.id_end(); ++id) {
    if (!vocabulary_.contains(id)) continue;
    std::string_view text = vocabulary_.text(id);
    while (text.starts_with(kMetaspace)) text.remove_prefix(kMetaspace.size());
    if (text.find(kMetaspace) != std::string_view::npos) return false;
  }
  return true;
}

void BpeModel::encode(std::string_view piece, std::vector<std::int32_t>& out) const {
  if (!cut_at_metaspace_) return encode_segment(piece, out);
  std::size_t begin = 0;
  while (begin < piece.size()) {
    std::size_t end = begin;
    while (piece.substr(end).starts_with(kMetaspace)) end += kMetaspace.size();
    end = std::min(piece.find(kMetaspace, end), piece.size());
    encode_segment(piece.substr(begin, end - begin), out);
    begin = end;
  }
}

void BpeModel::encode_segment(std::string_view piece, std::vector<std::int32_t>& out) const {
  const std::int32_t whole =
      options_.byte_level ? byte_index_.find(piece) : vocabulary_.find(piece);
  std::uint8_t state = kNo;
  if (whole >= 0) {
    if (options_.ignore_merges) return out.push_back(whole);
    state = whole_[static_cast<std::size_t>(whole)].load(std::memory_order_relaxed);
    if (state == kYes) return out.push_back(whole);
  }
  thread_local std::vector<BpeSymbol> symbols;
  symbols.clear();
  merge_piece(piece, symbols);
  for (const BpeSymbol& symbol : symbols) out.push_back(symbol.id);
  if (whole >= 0 && state == kUnknown) {
    const bool yes = symbols.size() == 1 && symbols[0].id == whole;
    whole_[static_cast<std::size_t>(whole)].store(yes ? kYes : kNo, std::memory_order_relaxed);
  }
  if (symbols.capacity() > (1 << 16)) std::vector<BpeSymbol>().swap(symbols);
}

void BpeModel::merge_piece(std::string_view piece, std::vector<BpeSymbol>& symbols) const {
  TENON_CHECK(piece.size() < BpeMerge::kNone, ErrorCode::kInvalidArgument,
              "[tokenizer] a text of {} bytes, expected less than 4 GiB", piece.size());
  if (options_.byte_level)
    split_bytes(piece, symbols);
  else
    split_characters(piece, symbols);
  merge_symbols(symbols, [this](const BpeSymbol& left, const BpeSymbol& right) {
    return merges_.find(left.id, right.id);
  });
}

void BpeModel::add_missing(std::string_view character, std::uint32_t begin, std::uint32_t end,
                           std::vector<BpeSymbol>& symbols,
                           std::optional<BpeSymbol>& unknown) const {
  if (options_.byte_fallback) {
    const bool all =
        has_all_byte_pieces_ || std::all_of(character.begin(), character.end(), [&](char c) {
          return byte_pieces_[static_cast<unsigned char>(c)] >= 0;
        });
    if (all) {
      for (const char c : character)
        symbols.push_back({byte_pieces_[static_cast<unsigned char>(c)], begin, end});
      return;
    }
  }
  if (!options_.unk_token) return;  // nothing stands for it
  TENON_CHECK(unk_id_ >= 0, ErrorCode::kCorrupt,
              "[tokenizer] the text needs unk_token \"{}\", missing from the vocabulary",
              *options_.unk_token);
  if (unknown && options_.fuse_unk) {
    unknown->end = end;
    return;
  }
  if (unknown) symbols.push_back(*unknown);
  unknown = BpeSymbol{unk_id_, begin, end};
}

void BpeModel::split_bytes(std::string_view piece, std::vector<BpeSymbol>& symbols) const {
  std::optional<BpeSymbol> unknown;
  symbols.reserve(piece.size());
  for (std::uint32_t i = 0; i < piece.size(); ++i) {
    const auto byte = static_cast<std::uint8_t>(piece[i]);
    if (byte_ids_[byte] < 0) {
      add_missing(byte_level_character(byte), i, i + 1, symbols, unknown);
      continue;
    }
    if (unknown) {
      symbols.push_back(*unknown);
      unknown.reset();
    }
    symbols.push_back({byte_ids_[byte], i, i + 1});
  }
  if (unknown) symbols.push_back(*unknown);
}

void BpeModel::split_characters(std::string_view piece, std::vector<BpeSymbol>& symbols) const {
  std::optional<BpeSymbol> unknown;
  std::string spelled;
  std::uint32_t begin = 0;
  while (begin < piece.size()) {
    const std::uint32_t end = begin + static_cast<std::uint32_t>(utf8_length(piece[begin]));
    std::string_view character = piece.substr(begin, end - begin);
    const bool prefixed = begin > 0 && !options_.continuing_subword_prefix.empty();
    const bool suffixed = end == piece.size() && !options_.end_of_word_suffix.empty();
    if (prefixed || suffixed) {
      spelled.clear();
      if (prefixed) spelled += options_.continuing_subword_prefix;
      spelled += character;
      if (suffixed) spelled += options_.end_of_word_suffix;
      character = spelled;
    }
    const std::int32_t id = vocabulary_.find(character);
    if (id < 0) {
      add_missing(character, begin, end, symbols, unknown);
    } else {
      if (unknown) {
        symbols.push_back(*unknown);
        unknown.reset();
      }
      symbols.push_back({id, begin, end});
    }
    begin = end;
  }
  if (unknown) symbols.push_back(*unknown);
}

}  // namespace tenon
