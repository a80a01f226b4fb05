// The content of a SentencePiece tokenizer.model, read from its protobuf bytes by hand.
// Every length is checked; unknown fields are skipped.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tenon {

/// Kinds of pieces, with SentencePiece's numbers, which GGUF shares.
enum class PieceType { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };

struct SentencePiece {
  std::string text;
  float score = 0;
  PieceType type = PieceType::kNormal;
};

struct SentencePieceNormalization {
  std::string precompiled_charsmap;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
  bool whitespace_is_suffix = false;
};

struct SentencePieceModel {
  enum class Kind { kUnigram = 1, kBpe = 2 } kind = Kind::kUnigram;
  std::vector<SentencePiece> pieces;
  SentencePieceNormalization normalization;
  bool byte_fallback = false;
  std::int32_t bos_id = 1, eos_id = 2, pad_id = -1;
  std::string unk_surface = " \xE2\x81\x87 ";
};

SentencePieceModel parse_sentencepiece_model(std::span<const std::byte> bytes,
                                             std::string_view where);

}  // namespace tenon
