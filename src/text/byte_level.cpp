// SPDX-License-Identifier: Apache-2.0
#include "text/byte_level.h"

#include <fmt/core.h>

#include "core/utf8.h"
#include "text/code_points.h"

namespace tenon {
namespace {

struct Alphabet {
  std::array<std::string, 256> character;
  std::array<std::int16_t, 0x200> byte_of;  // -1 outside

  Alphabet() {
    // Printable Latin-1 stands for itself, the other bytes follow from U+0100 on, in order.
    byte_of.fill(-1);
    char32_t next = 0x100;
    for (char32_t byte = 0; byte < 256; ++byte) {
      const bool printable = (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD);
      const char32_t c = printable ? byte : next++;
      utf8::append(character[byte], c);
      byte_of[c] = static_cast<std::int16_t>(byte);
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet table;
  return table;
}

}  // namespace

std::string_view byte_level_character(std::uint8_t byte) { return alphabet().character[byte]; }

std::string to_byte_level(std::string_view bytes) {
  const Alphabet& table = alphabet();
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char c : bytes) out += table.character[static_cast<unsigned char>(c)];
  return out;
}

std::optional<std::string> from_byte_level(std::string_view text) {
  const Alphabet& table = alphabet();
  std::string out;
  const char* p = text.data();
  const char* const end = p + text.size();
  while (p < end) {
    const char32_t c = next_code_point(p);
    if (c >= table.byte_of.size() || table.byte_of[c] < 0) return std::nullopt;
    out += static_cast<char>(table.byte_of[c]);
  }
  return out;
}

std::optional<std::uint8_t> parse_byte_piece(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return std::nullopt;
  int value = 0;
  for (const char c : piece.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                             : -1;
    if (digit < 0) return std::nullopt;
    value = value * 16 + digit;
  }
  return static_cast<std::uint8_t>(value);
}

std::string byte_piece(std::uint8_t byte) { return fmt::format("<0x{:02X}>", byte); }

}  // namespace tenon
