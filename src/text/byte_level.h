// The alphabet of byte-level tokenizers: each byte as a printable character of its own.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tenon {

/// The character that stands for `byte`, in UTF-8 (one or two bytes).
std::string_view byte_level_character(std::uint8_t byte);

/// Every byte of `bytes` replaced by its character.
std::string to_byte_level(std::string_view bytes);

/// The way back; nothing where a character is outside the alphabet.
std::optional<std::string> from_byte_level(std::string_view text);

/// The byte that "<0x41>" names.
std::optional<std::uint8_t> parse_byte_piece(std::string_view piece);
std::string byte_piece(std::uint8_t byte);

}  // namespace tenon
