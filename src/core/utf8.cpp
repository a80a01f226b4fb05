// SPDX-License-Identifier: Apache-2.0
#include "core/utf8.h"

#include <algorithm>
#include <cstdint>

namespace tenon::utf8 {
namespace {

struct Lead {
  int length;        // of the whole sequence, 0 where the byte starts none
  std::uint8_t low;  // bounds of the second byte
  std::uint8_t high;
};

Lead classify(std::uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

}  // namespace

Decoded decode(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const Lead lead = classify(byte(0));
  if (lead.length == 0) return {kReplacement, 1, false};
  if (lead.length == 1) return {byte(0), 1, true};
  char32_t code_point = byte(0) & (0x7F >> lead.length);
  for (int i = 1; i < lead.length; ++i) {
    const std::uint8_t low = i == 1 ? lead.low : 0x80;
    const std::uint8_t high = i == 1 ? lead.high : 0xBF;
    if (static_cast<std::size_t>(i) >= text.size() || byte(static_cast<std::size_t>(i)) < low ||
        byte(static_cast<std::size_t>(i)) > high)
      return {kReplacement, i, false};
    code_point = (code_point << 6) | (byte(static_cast<std::size_t>(i)) & 0x3F);
  }
  return {code_point, lead.length, true};
}

void append(std::string& out, char32_t c) {
  if (c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) c = kReplacement;
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (c >> 18));
    out += static_cast<char>(0x80 | ((c >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

bool is_valid(std::string_view text) {
  while (!text.empty()) {
    const Decoded d = decode(text);
    if (!d.valid) return false;
    text.remove_prefix(static_cast<std::size_t>(d.length));
  }
  return true;
}

std::string replace_invalid(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Decoded d = decode(text);
    if (d.valid)
      out.append(text.substr(0, static_cast<std::size_t>(d.length)));
    else
      append(out, kReplacement);
    text.remove_prefix(static_cast<std::size_t>(d.length));
  }
  return out;
}

std::u32string to_utf32(std::string_view text) {
  std::u32string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Decoded d = decode(text);
    out += d.code_point;
    text.remove_prefix(static_cast<std::size_t>(d.length));
  }
  return out;
}

std::string from_utf32(std::u32string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char32_t c : text) append(out, c);
  return out;
}

std::size_t complete_prefix(std::string_view text) {
  const std::size_t earliest = text.size() - std::min<std::size_t>(text.size(), 3);
  for (std::size_t start = text.size(); start-- > earliest;) {
    const Lead lead = classify(static_cast<std::uint8_t>(text[start]));
    if (lead.length == 0) continue;  // a continuation byte, or one that starts nothing
    const std::string_view tail = text.substr(start);
    const Decoded d = decode(tail);
    const bool could_grow = !d.valid && static_cast<std::size_t>(d.length) == tail.size() &&
                            static_cast<std::size_t>(lead.length) > tail.size();
    return could_grow ? start : text.size();
  }
  return text.size();
}

}  // namespace tenon::utf8
