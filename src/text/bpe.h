// Byte-pair encoding from a list of merges, over characters or over bytes.
// A byte-level vocabulary is kept by the bytes that it stands for, so the text is never respelled.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "text/bpe_merge.h"
#include "text/token_model.h"

namespace tenon {

struct BpeOptions {
  std::optional<std::string> unk_token;
  std::string continuing_subword_prefix;
  std::string end_of_word_suffix;
  bool fuse_unk = false;
  bool byte_fallback = false;
  bool ignore_merges = false;     // a piece that is in the vocabulary is taken whole
  bool byte_level = false;        // pieces come as raw bytes, the vocabulary is spelled byte-level
  bool first_merge_wins = false;  // of a pair listed twice; otherwise the last
};

using BpeMergeList = std::vector<std::pair<std::string, std::string>>;

/// Rank and result of each pair of ids.
class MergeTable {
 public:
  explicit MergeTable(std::size_t expected = 0);
  void set(std::int32_t left, std::int32_t right, BpeMerge merge, bool overwrite);
  BpeMerge find(std::int32_t left, std::int32_t right) const {
    const std::uint64_t key = key_of(left, right);
    for (std::size_t at = slot_of(key);; at = (at + 1) & mask_) {
      if (slots_[at].key == key) return slots_[at].merge;
      if (slots_[at].key == kEmpty) return {};
    }
  }

 private:
  struct Slot {
    std::uint64_t key;
    BpeMerge merge;
  };
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};
  static std::uint64_t key_of(std::int32_t left, std::int32_t right) {
    return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 |
           static_cast<std::uint32_t>(right);
  }
  std::size_t slot_of(std::uint64_t key) const {
    return static_cast<std::size_t>((key ^ seed_) * 0x9E3779B97F4A7C15ull >> 20) & mask_;
  }
  std::vector<Slot> slots_;
  std::size_t mask_ = 0;
  std::uint64_t seed_ = 0;
};

class BpeModel : public TokenModel {
 public:
  /// Throws Error{kCorrupt} where a merge names a piece that is missing.
  BpeModel(Vocabulary vocabulary, const BpeMergeList& merges, BpeOptions options,
           std::string_view where);

  void encode(std::string_view piece, std::vector<std::int32_t>& out) const override;

 private:
  void encode_segment(std::string_view piece, std::vector<std::int32_t>& out) const;
  void merge_piece(std::string_view piece, std::vector<BpeSymbol>& symbols) const;
  void split_characters(std::string_view piece, std::vector<BpeSymbol>& symbols) const;
  void split_bytes(std::string_view piece, std::vector<BpeSymbol>& symbols) const;
  /// Appends what stands for a character that the vocabulary lacks, or notes a pending unknown.
  void add_missing(std::string_view character, std::uint32_t begin, std::uint32_t end,
                   std::vector<BpeSymbol>& symbols, std::optional<BpeSymbol>& unknown) const;
  void index_bytes();
  bool may_cut_at_metaspace() const;

  BpeOptions options_;
  MergeTable merges_;
  std::int32_t unk_id_ = -1;
  std::array<std::int32_t, 256> byte_pieces_{};  // ids of <0x00> …, -1 where missing
  bool has_all_byte_pieces_ = false;

  // Byte-level: the vocabulary again by the bytes it stands for, and the piece of each byte.
  std::string byte_buffer_;
  StringIndex byte_index_;
  std::array<std::int32_t, 256> byte_ids_{};

  bool cut_at_metaspace_ = false;
  // Per id, found out at first use: does its own text encode to just it? Then one look-up is
  // enough.
  enum Whole : std::uint8_t { kUnknown, kYes, kNo };
  std::unique_ptr<std::atomic<std::uint8_t>[]> whole_;
};

}  // namespace tenon
