// SPDX-License-Identifier: Apache-2.0
#include "text/sentencepiece_model.h"

#include <bit>

#include "core/check.h"
#include "core/utf8.h"

namespace tenon {
namespace {

/// One protobuf message: hands out its fields one after another.
class Message {
 public:
  Message(std::string_view bytes, std::string_view where) : bytes_(bytes), where_(where) {}

  struct Field {
    std::uint64_t number = 0;
    std::uint64_t value = 0;  // varint or fixed
    std::string_view bytes;   // length-delimited
    bool is_bytes = false;

    bool flag() const { return value != 0; }
    std::int32_t integer() const { return static_cast<std::int32_t>(value); }
    float real() const { return std::bit_cast<float>(static_cast<std::uint32_t>(value)); }
  };

  bool next(Field& field) {
    if (at_ == bytes_.size()) return false;
    const std::uint64_t tag = varint();
    field = {};
    field.number = tag >> 3;
    switch (tag & 7) {
      case 0: field.value = varint(); break;
      case 1: field.value = fixed(8); break;
      case 2: {
        const std::uint64_t length = varint();
        check(length <= bytes_.size() - at_, "a length beyond the end");
        field.bytes = bytes_.substr(at_, length);
        field.is_bytes = true;
        at_ += length;
        break;
      }
      case 5: field.value = fixed(4); break;
      default: check(false, "an unknown wire type");
    }
    return true;
  }

 private:
  void check(bool condition, const char* what) const {
    TENON_CHECK(condition, ErrorCode::kCorrupt, "{}: SentencePiece model has {} at byte {}", where_,
                what, at_);
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      check(at_ < bytes_.size(), "an end inside a number");
      const auto byte = static_cast<unsigned char>(bytes_[at_++]);
      value |= std::uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
    check(false, "a number too long");
    return 0;
  }
  std::uint64_t fixed(std::size_t size) {
    check(size <= bytes_.size() - at_, "an end inside a number");
    std::uint64_t value = 0;
    for (std::size_t i = size; i-- > 0;)
      value = value << 8 | static_cast<unsigned char>(bytes_[at_ + i]);
    at_ += size;
    return value;
  }

  std::string_view bytes_;
  std::string_view where_;
  std::size_t at_ = 0;
};

SentencePiece parse_piece(std::string_view bytes, std::string_view where) {
  SentencePiece piece;
  Message message(bytes, where);
  for (Message::Field field; message.next(field);) {
    if (field.number == 1) piece.text = field.bytes;
    if (field.number == 2) piece.score = field.real();
    if (field.number == 3) {
      TENON_CHECK(field.value >= 1 && field.value <= 6, ErrorCode::kCorrupt,
                  "{}: piece \"{}\" of type {}, expected 1 to 6", where,
                  utf8::replace_invalid(piece.text), field.value);
      piece.type = static_cast<PieceType>(field.value);
    }
  }
  TENON_CHECK(!piece.text.empty(), ErrorCode::kCorrupt, "{}: an empty piece", where);
  return piece;
}

void parse_trainer(std::string_view bytes, std::string_view where, SentencePieceModel& model) {
  Message message(bytes, where);
  for (Message::Field field; message.next(field);) {
    switch (field.number) {
      case 3:
        TENON_CHECK(field.value == 1 || field.value == 2, ErrorCode::kUnsupported,
                    "{}: SentencePiece model type {}, expected 1 (unigram) or 2 (BPE)", where,
                    field.value);
        model.kind = static_cast<SentencePieceModel::Kind>(field.value);
        break;
      case 24: model.normalization.whitespace_is_suffix = field.flag(); break;
      case 35: model.byte_fallback = field.flag(); break;
      case 41: model.bos_id = field.integer(); break;
      case 42: model.eos_id = field.integer(); break;
      case 43: model.pad_id = field.integer(); break;
      case 44: model.unk_surface = utf8::replace_invalid(field.bytes); break;
      default: break;
    }
  }
}

void parse_normalizer(std::string_view bytes, std::string_view where,
                      SentencePieceNormalization& out) {
  Message message(bytes, where);
  for (Message::Field field; message.next(field);) {
    if (field.number == 2) out.precompiled_charsmap = field.bytes;
    if (field.number == 3) out.add_dummy_prefix = field.flag();
    if (field.number == 4) out.remove_extra_whitespaces = field.flag();
    if (field.number == 5) out.escape_whitespaces = field.flag();
  }
}

}  // namespace

SentencePieceModel parse_sentencepiece_model(std::span<const std::byte> bytes,
                                             std::string_view where) {
  SentencePieceModel model;
  Message message({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, where);
  for (Message::Field field; message.next(field);) {
    if (field.number == 1) model.pieces.push_back(parse_piece(field.bytes, where));
    if (field.number == 2) parse_trainer(field.bytes, where, model);
    if (field.number == 3) parse_normalizer(field.bytes, where, model.normalization);
  }
  TENON_CHECK(!model.pieces.empty(), ErrorCode::kCorrupt, "{}: a SentencePiece model of no pieces",
              where);
  return model;
}

}  // namespace tenon
