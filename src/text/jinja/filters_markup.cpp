// Filters that write other languages: HTML, URLs, JSON.
// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <charconv>

#include "core/utf8.h"
#include "text/jinja/arguments.h"
#include "text/jinja/filters.h"
#include "text/jinja/items.h"
#include "text/jinja/operators.h"
#include "text/jinja/repr.h"
#include "text/jinja/unicode.h"

namespace tenon::jinja {
namespace {

std::string_view entity(char c) {
  switch (c) {
    case '&': return "&amp;";
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '\'': return "&#39;";
    case '"': return "&#34;";
    default: return {};
  }
}

Value escape(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter 'escape'", args, {});
  return escape_html(runtime, subject);
}

Value force_escape(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter 'forceescape'", args, {});
  return escape_html(runtime, runtime.text_view(to_text(runtime, subject).text()));
}

Value safe(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter 'safe'", args, {});
  return runtime.markup(to_text(runtime, subject));
}

void append_quoted(TextBuilder& out, std::string_view text, bool query) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    const bool plain =
        letter || c == '_' || c == '.' || c == '-' || c == '~' || (c == '/' && !query);
    if (plain) {
      out.append({&c, 1});
    } else if (query && c == ' ') {
      out.append("+");
    } else {
      const char code[3] = {'%', kHex[byte >> 4], kHex[byte & 15]};
      out.append({code, 3});
    }
  }
}

Value url_encode(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter 'urlencode'", args, {});
  TextBuilder out(runtime);
  if (subject.is_string() || !is_iterable(subject)) {
    const std::string_view text = to_text(runtime, subject).text();
    runtime.charge(text.size() / 8);
    append_quoted(out, text, false);
    return out.finish();
  }
  Value pairs = subject;
  if (subject.is(Kind::kDict)) {
    pairs.kind = Kind::kView;
    pairs.view = runtime.arena.make<ViewObject>(ViewObject{subject.dict, ViewObject::Part::kItems});
  }
  ItemSource items(runtime, pairs);
  Value item;
  for (bool first = true; items.next(item); first = false) {
    const std::vector<Value> pair = to_vector(runtime, item);
    if (pair.size() != 2) runtime.fault("urlencode expects pairs, got {} items", pair.size());
    if (!first) out.append("&");
    append_quoted(out, to_text(runtime, pair[0]).text(), true);
    out.append("=");
    append_quoted(out, to_text(runtime, pair[1]).text(), true);
  }
  return out.finish();
}

/// The text of one entity between '&' and ';', empty where we do not know it.
std::string unescape_entity(std::string_view name) {
  struct Row {
    std::string_view name, text;
  };
  static constexpr std::array<Row, 7> kRows{{{"amp", "&"},
                                             {"lt", "<"},
                                             {"gt", ">"},
                                             {"quot", "\""},
                                             {"apos", "'"},
                                             {"nbsp", "\xC2\xA0"},
                                             {"copy", "\xC2\xA9"}}};
  for (const Row& row : kRows)
    if (row.name == name) return std::string(row.text);
  if (name.size() < 2 || name[0] != '#') return {};
  const bool hex = name[1] == 'x' || name[1] == 'X';
  const std::string_view digits = name.substr(hex ? 2 : 1);
  std::uint32_t code = 0;
  const auto result =
      std::from_chars(digits.data(), digits.data() + digits.size(), code, hex ? 16 : 10);
  std::string out;
  if (result.ec == std::errc() && result.ptr == digits.data() + digits.size() && code > 0)
    utf8::append(out, code);
  return out;
}

std::string without_tags(Runtime& runtime, std::string_view text) {
  std::string out;
  for (;;) {
    const std::size_t open = text.find('<');
    if (open == std::string_view::npos) break;
    const bool comment = text.substr(open).starts_with("<!--");
    const std::size_t close =
        comment ? find_text(runtime, text.substr(std::min(open + 4, text.size())), "-->")
                : text.find('>', open);
    if (close == std::string_view::npos) break;
    out += text.substr(0, open);
    text.remove_prefix(comment ? open + 4 + close + 3 : close + 1);
  }
  out += text;
  return out;
}

Value strip_tags(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter 'striptags'", args, {});
  const std::string_view source = to_text(runtime, subject).text();
  runtime.charge_bytes(16 * source.size());
  runtime.arena.require(4 * source.size());
  const std::string plain = without_tags(runtime, source);
  std::string words;  // one space for each run of white space, none at the ends
  std::string_view rest = strip_space(plain, Side::kBoth);
  while (!rest.empty()) {
    const utf8::Decoded c = utf8::decode(rest);
    if (is_space(c.code_point)) {
      words += ' ';
      rest = strip_space(rest, Side::kLeft);
      continue;
    }
    words += rest.substr(0, static_cast<std::size_t>(c.length));
    rest.remove_prefix(static_cast<std::size_t>(c.length));
  }
  std::string out;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::size_t end = words[i] == '&' ? words.substr(i, 12).find(';') : std::string::npos;
    const std::string character =
        end == std::string::npos ? std::string()
                                 : unescape_entity(std::string_view(words).substr(i + 1, end - 1));
    if (character.empty()) {
      out += words[i];
    } else {
      out += character;
      i += end;
    }
  }
  return runtime.text(out);
}

std::string json_indent(Runtime& runtime, const Value& indent) {
  if (indent.is_string()) return std::string(indent.text());
  if (!indent.is_integral())
    runtime.fault("tojson: indent must be an integer or a string, got {}", type_name(indent));
  const std::int64_t width = indent.as_integer();
  if (width > 1000) runtime.fault("tojson: indent must be at most 1000, got {}", width);
  return std::string(width > 0 ? static_cast<std::size_t>(width) : 0, ' ');
}

/// json.dumps with the arguments that transformers passes on.
Value to_json_filter(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter 'tojson'", args,
                    {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ascii = bound.flag(0, false);
  style.sort_keys = bound.flag(3, false);
  if (bound.given(1)) {
    style.pretty = true;
    style.indent = json_indent(runtime, bound[1]);
    style.item_separator = ",";
  }
  if (bound.given(2)) {
    const std::vector<Value> parts = to_vector(runtime, bound[2]);
    if (parts.size() != 2 || !parts[0].is_string() || !parts[1].is_string())
      runtime.fault("tojson: separators must be a pair of strings");
    style.item_separator = parts[0].text();
    style.key_separator = parts[1].text();
  }
  return to_json(runtime, subject, style);
}

constexpr std::array kFilters{
    Method{"escape", escape},
    Method{"e", escape},
    Method{"forceescape", force_escape},
    Method{"safe", safe},
    Method{"urlencode", url_encode},
    Method{"striptags", strip_tags},
    Method{"tojson", to_json_filter},
};

}  // namespace

Value escape_html(Runtime& runtime, const Value& value) {
  const Value text = to_text(runtime, value);
  if (text.string->markup) return text;
  TextBuilder out(runtime);
  runtime.charge_bytes(8 * text.text().size());
  std::string_view rest = text.text();
  std::size_t plain = 0;
  for (std::size_t i = 0; i < rest.size(); ++i) {
    const std::string_view replaced = entity(rest[i]);
    if (replaced.empty()) continue;
    out.append(rest.substr(plain, i - plain));
    out.append(replaced);
    plain = i + 1;
  }
  out.append(rest.substr(plain));
  return runtime.markup(out.finish());
}

std::span<const Method> markup_filters() { return kFilters; }

}  // namespace tenon::jinja
