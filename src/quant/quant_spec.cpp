// Sizes, rules and the text form of a QuantSpec.
// SPDX-License-Identifier: Apache-2.0
#include "quant/quant_spec.h"

#include <charconv>
#include <numeric>
#include <vector>

#include "core/check.h"
#include "core/shape.h"
#include "quant/bit_packing.h"

namespace tenon {
namespace {

constexpr std::int64_t kMaxSize = std::int64_t{1} << 31;  // of a group or super-block, in columns

bool is_scale_type(DataType type) {
  return type == DataType::kFloat32 || type == DataType::kFloat16 || type == DataType::kBFloat16;
}

/// Words of a spec's text, taken one after another.
class Words {
 public:
  Words(std::string_view text, std::string_view where) : text_(text), where_(where) {
    std::string_view rest = text;
    while (!rest.empty()) {
      const std::size_t end = std::min(rest.find(' '), rest.size());
      if (end > 0) words_.push_back(rest.substr(0, end));
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }

  bool done() const { return next_ == words_.size(); }

  std::string_view take() {
    TENON_CHECK(!done(), ErrorCode::kCorrupt, "{}: the weight format \"{}\" breaks off", where_,
                text_);
    return words_[next_++];
  }

  bool take_if(std::string_view word) {
    if (done() || words_[next_] != word) return false;
    ++next_;
    return true;
  }

  std::int64_t number(std::string_view word) const {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    TENON_CHECK(
        error == std::errc{} && end == word.data() + word.size() && value >= 0 && value <= kMaxSize,
        ErrorCode::kCorrupt, "{}: the weight format \"{}\" has \"{}\" for a number", where_, text_,
        word);
    return value;
  }

  std::int64_t number() { return number(take()); }

 private:
  std::string_view text_;
  std::string_view where_;
  std::vector<std::string_view> words_;
  std::size_t next_ = 0;
};

bool is_float8(DataType type) {
  return type == DataType::kFloat8E4M3 || type == DataType::kFloat8E5M2;
}

void parse_fields(Words& words, QuantSpec& spec, std::string_view text, std::string_view where) {
  while (!words.done()) {
    if (words.take_if("group")) {
      if (!words.take_if("row")) spec.group_size = words.number();
    } else if (words.take_if("scale")) {
      try {
        spec.scale_type = parse_data_type(words.take(), where);
      } catch (const Error& error) {
        throw Error(ErrorCode::kCorrupt, error.what());
      }
    } else if (words.take_if("offset")) {
      spec.code_offset = static_cast<int>(words.number() % kMaxSize);
    } else if (words.take_if("minimum")) {
      spec.has_minimum = true;
    } else if (words.take_if("super")) {
      spec.super_size = words.number();
    } else if (words.take_if("sub")) {
      spec.sub_bits = static_cast<int>(words.number() % kMaxSize);
    } else if (words.take_if("signed")) {
      spec.sub_signed = true;
    } else if (words.take_if("phase")) {
      spec.super_phase = words.number();
    } else {
      fail(ErrorCode::kCorrupt, "{}: the weight format \"{}\" has the unknown word \"{}\"", where,
           text, words.take());
    }
  }
}

}  // namespace

std::int64_t QuantSpec::groups(std::int64_t columns) const {
  if (is_float()) return 0;
  return group_size == 0 ? 1 : columns / group_size;
}

std::int64_t QuantSpec::supers(std::int64_t columns) const {
  if (!two_level() || columns == 0) return 0;
  return (super_phase + columns + super_size - 1) / super_size;
}

std::int64_t QuantSpec::code_bytes(std::int64_t columns) const {
  if (is_float()) return columns * static_cast<std::int64_t>(size_of(float_type));
  return packed_bytes(bits, columns);
}

std::int64_t QuantSpec::sub_bytes(std::int64_t columns) const {
  return two_level() ? packed_bytes(sub_bits, groups(columns)) : 0;
}

std::int64_t QuantSpec::bytes(std::int64_t rows, std::int64_t columns) const {
  if (is_float()) return byte_count(float_type, {rows, columns});
  const auto scale_size = static_cast<std::int64_t>(size_of(scale_type));
  const std::int64_t scales = (two_level() ? supers(columns) : groups(columns)) * scale_size;
  const std::int64_t levels = has_minimum ? 2 : 1;
  const std::int64_t row = code_bytes(columns) + levels * (scales + sub_bytes(columns));
  const std::int64_t codebook = kind == QuantKind::kCodebook ? std::int64_t{1} << bits : 0;
  return element_count({rows, row}) + codebook;
}

std::int64_t QuantSpec::column_unit() const {
  if (is_float()) return 1;
  return group_size > 0 ? group_size : 8 / std::gcd(8, bits);
}

void QuantSpec::check(std::string_view where) const {
  if (is_float()) return;
  const auto wrong = [&](const char* field, std::int64_t value, const char* expected) {
    fail(ErrorCode::kCorrupt, "{}: weight format with {} {}; expected {}", where, field, value,
         expected);
  };
  if (bits < 2 || bits > 8 || bits == 7) wrong("bits", bits, "2, 3, 4, 5, 6 or 8");
  if (kind == QuantKind::kScaledFloat) {
    if (!is_float8(float_type))
      fail(ErrorCode::kCorrupt,
           "{}: weight format of scaled {}; expected float8_e4m3 or float8_e5m2", where,
           tenon::to_string(float_type));
    if (bits != 8) wrong("bits", bits, "8 for fp8 numbers");
    if (has_minimum) wrong("minimum", 1, "none with fp8 numbers");
    if (two_level()) wrong("super", super_size, "one-level scales with fp8 numbers");
  }
  if (kind != QuantKind::kInteger ? code_offset != 0 : code_offset < 0 || code_offset >> bits != 0)
    wrong("offset", code_offset, "0 … 2^bits - 1 with integer codes, else 0");
  if (group_size < 0 || group_size > kMaxSize || group_size * bits % 8 != 0)
    wrong("group", group_size, "a size that fills whole bytes of codes");
  if (!is_scale_type(scale_type))
    fail(ErrorCode::kCorrupt,
         "{}: weight format with scale {}; expected a float16, bfloat16 or "
         "float32 scale",
         where, tenon::to_string(scale_type));
  if (kind == QuantKind::kCodebook && has_minimum) wrong("minimum", 1, "none with a codebook");
  if (!two_level()) {
    if (super_size != 0) wrong("super", super_size, "0 or more");
    if (sub_bits != 0) wrong("sub", sub_bits, "no sub-scales without a super-block");
    if (sub_signed) wrong("signed", 1, "no signed sub-scales without a super-block");
    if (super_phase != 0) wrong("phase", super_phase, "no phase without a super-block");
    return;
  }
  if (group_size == 0 || super_size > kMaxSize || super_size % group_size != 0)
    wrong("super", super_size, "a multiple of the group");
  if (sub_bits != 4 && sub_bits != 8) wrong("sub", sub_bits, "4 or 8 bits");
  if (super_phase < 0 || super_phase >= super_size || super_phase % group_size != 0)
    wrong("phase", super_phase, "a multiple of the group below the super-block's size");
}

std::string to_string(const QuantSpec& spec) {
  if (spec.is_float()) return to_string(spec.float_type);
  std::string text;
  if (spec.kind == QuantKind::kScaledFloat)
    text = to_string(spec.float_type);
  else
    text = (spec.kind == QuantKind::kInteger ? "int" : "codebook") + std::to_string(spec.bits);
  text += " group " + (spec.group_size == 0 ? "row" : std::to_string(spec.group_size));
  text += std::string(" scale ") + to_string(spec.scale_type);
  if (spec.code_offset != 0) text += " offset " + std::to_string(spec.code_offset);
  if (spec.has_minimum) text += " minimum";
  if (!spec.two_level()) return text;
  text += " super " + std::to_string(spec.super_size) + " sub " + std::to_string(spec.sub_bits);
  if (spec.sub_signed) text += " signed";
  if (spec.super_phase != 0) text += " phase " + std::to_string(spec.super_phase);
  return text;
}

QuantSpec parse_quant_spec(std::string_view text, std::string_view where) {
  Words words(text, where);
  std::string_view kind = words.take();
  QuantSpec spec;
  const bool codebook = kind.starts_with("codebook");
  // "int8" alone is the plain element type; a quantized part always names its group.
  if (words.done() || (!codebook && !kind.starts_with("int"))) {
    try {
      spec.float_type = parse_data_type(kind, where);
    } catch (const Error& error) {
      throw Error(ErrorCode::kCorrupt, error.what());
    }
    if (words.done()) return spec;
    TENON_CHECK(is_float8(spec.float_type), ErrorCode::kCorrupt,
                "{}: the weight format \"{}\" is not known to this version", where, text);
    spec = QuantSpec::scaled_float(spec.float_type);
    parse_fields(words, spec, text, where);
    spec.check(where);
    return spec;
  }
  spec.kind = codebook ? QuantKind::kCodebook : QuantKind::kInteger;
  kind.remove_prefix(codebook ? 8 : 3);
  spec.bits = static_cast<int>(words.number(kind) % kMaxSize);
  parse_fields(words, spec, text, where);
  spec.check(where);
  return spec;
}

}  // namespace tenon
