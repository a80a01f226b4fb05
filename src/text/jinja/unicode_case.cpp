// Letter case as Python maps it: the simple maps of utf8proc, the common one-to-many maps, and
// the final sigma.
// SPDX-License-Identifier: Apache-2.0
#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "core/utf8.h"
#include "text/jinja/unicode.h"

namespace tenon::jinja {
namespace {

struct Expansion {
  char32_t from;
  std::u32string_view upper, title;
};

constexpr std::array<Expansion, 11> kExpansions{{
    {0xDF, U"SS", U"Ss"},
    {0x149, U"\x2BCN", U"\x2BCN"},
    {0x1F0, U"J\x30C", U"J\x30C"},
    {0x390, U"\x399\x308\x301", U"\x399\x308\x301"},
    {0x3B0, U"\x3A5\x308\x301", U"\x3A5\x308\x301"},
    {0x587, U"\x535\x552", U"\x535\x582"},
    {0xFB00, U"FF", U"Ff"},
    {0xFB01, U"FI", U"Fi"},
    {0xFB02, U"FL", U"Fl"},
    {0xFB03, U"FFI", U"Ffi"},
    {0xFB04, U"FFL", U"Ffl"},
}};

char32_t mapped(utf8proc_int32_t (*map)(utf8proc_int32_t), char32_t c) {
  return static_cast<char32_t>(map(static_cast<utf8proc_int32_t>(c)));
}

void append_expanded(std::string& out, char32_t c, bool title) {
  if (c < 0x80) {
    out += static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
    return;
  }
  const auto* found = std::find_if(kExpansions.begin(), kExpansions.end(),
                                   [&](const Expansion& row) { return row.from == c; });
  if (found != kExpansions.end()) {
    for (const char32_t part : title ? found->title : found->upper) utf8::append(out, part);
    return;
  }
  utf8::append(out, mapped(title ? utf8proc_totitle : utf8proc_toupper, c));
}

/// Whether a sigma at `place` ends its word.
bool is_final_sigma(std::u32string_view text, std::size_t place) {
  const auto ignorable = [](char32_t c) {
    const auto kind = utf8proc_category(static_cast<utf8proc_int32_t>(c));
    return c == '\'' || c == '.' || c == ':' || c == 0xB7 || c == 0x2019 ||
           kind == UTF8PROC_CATEGORY_MN || kind == UTF8PROC_CATEGORY_CF;
  };
  std::size_t before = place;
  while (before > 0 && ignorable(text[before - 1])) --before;
  if (before == 0 || !is_cased(text[before - 1])) return false;
  std::size_t after = place + 1;
  while (after < text.size() && ignorable(text[after])) ++after;
  return after == text.size() || !is_cased(text[after]);
}

void append_lower(std::string& out, std::u32string_view text, std::size_t place) {
  const char32_t c = text[place];
  if (c < 0x80) {
    out += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  } else if (c == 0x130) {  // capital I with dot: i and a combining dot
    out += "i\xCC\x87";
  } else if (c == 0x3A3) {
    utf8::append(out, is_final_sigma(text, place) ? 0x3C2 : 0x3C3);
  } else {
    utf8::append(out, mapped(utf8proc_tolower, c));
  }
}

}  // namespace

std::string to_upper(std::string_view text) {
  std::string out;
  for (const char32_t c : utf8::to_utf32(text)) append_expanded(out, c, false);
  return out;
}

std::string to_lower(std::string_view text) {
  const std::u32string wide = utf8::to_utf32(text);
  std::string out;
  for (std::size_t i = 0; i < wide.size(); ++i) append_lower(out, wide, i);
  return out;
}

std::string to_title(std::string_view text) {
  const std::u32string wide = utf8::to_utf32(text);
  std::string out;
  bool inside = false;
  for (std::size_t i = 0; i < wide.size(); ++i) {
    if (inside) {
      append_lower(out, wide, i);
    } else {
      append_expanded(out, wide[i], true);
    }
    inside = is_cased(wide[i]);
  }
  return out;
}

std::string capitalize(std::string_view text) {
  const std::u32string wide = utf8::to_utf32(text);
  std::string out;
  for (std::size_t i = 0; i < wide.size(); ++i) {
    if (i == 0) {
      append_expanded(out, wide[i], true);
    } else {
      append_lower(out, wide, i);
    }
  }
  return out;
}

std::string swap_case(std::string_view text) {
  const std::u32string wide = utf8::to_utf32(text);
  std::string out;
  for (std::size_t i = 0; i < wide.size(); ++i) {
    if (is_upper(wide[i])) {
      append_lower(out, wide, i);
    } else if (is_lower(wide[i])) {
      append_expanded(out, wide[i], false);
    } else {
      utf8::append(out, wide[i]);
    }
  }
  return out;
}

std::string fold_case(std::string_view text) {
  std::string out;
  for (const char32_t c : utf8::to_utf32(text)) {
    std::array<utf8proc_int32_t, 4> folded{};  // no character folds to more than three
    const utf8proc_ssize_t count =
        utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), folded.data(), std::ssize(folded),
                                UTF8PROC_CASEFOLD, nullptr);
    if (count < 1 || count > std::ssize(folded)) {
      utf8::append(out, c);
      continue;
    }
    for (utf8proc_ssize_t i = 0; i < count; ++i)
      utf8::append(out, static_cast<char32_t>(folded[static_cast<std::size_t>(i)]));
  }
  return out;
}

}  // namespace tenon::jinja
