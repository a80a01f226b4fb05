// Filters on text.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>

#include "core/utf8.h"
#include "text/jinja/arguments.h"
#include "text/jinja/attributes.h"
#include "text/jinja/dict.h"
#include "text/jinja/filters.h"
#include "text/jinja/items.h"
#include "text/jinja/operators.h"
#include "text/jinja/repr.h"
#include "text/jinja/unicode.h"

namespace tenon::jinja {
namespace {

template <std::string (*Map)(std::string_view)>
Value mapped(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter", args, {});
  const std::string_view text = to_text(runtime, subject).text();
  runtime.charge_bytes(16 * text.size());
  runtime.arena.require(8 * text.size());
  return runtime.text(Map(text));
}

Value trim(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter 'trim'", args, {"chars"});
  const std::string_view text = to_text(runtime, subject).text();
  runtime.charge_bytes(text.size());
  if (!bound.given(0)) return runtime.text_view(strip_space(text, Side::kBoth));
  const std::string_view set = bound.string(0);
  runtime.charge(text.size() / 64 * (set.size() + 1));
  return runtime.text_view(strip_set(text, set, Side::kBoth));
}

bool separates_words(char32_t c) {
  return c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || is_space(c);
}

/// Each word begins with a capital; words end at white space, brackets and hyphens.
std::string title_words(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const bool separator = separates_words(utf8::decode(text).code_point);
    std::size_t length = 0;
    while (length < text.size()) {
      const utf8::Decoded c = utf8::decode(text.substr(length));
      if (separates_words(c.code_point) != separator) break;
      length += static_cast<std::size_t>(c.length);
    }
    const std::string_view word = text.substr(0, length);
    const std::size_t first = first_length(word);
    out += to_upper(word.substr(0, first));
    out += to_lower(word.substr(first));
    text.remove_prefix(length);
  }
  return out;
}

Value replace(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter 'replace'", args, {"old", "new", "count"}, 2);
  const std::int64_t count = bound.given(2) ? bound.integer(2, -1) : -1;
  return replace_text(runtime, to_text(runtime, subject).text(), bound.text(0, {}),
                      bound.text(1, {}), count);
}

Value string(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter 'string'", args, {});
  return to_text(runtime, subject);
}

Value center(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter 'center'", args, {"width"});
  return pad_text(runtime, to_text(runtime, subject), bound.integer(0, 80), " ", '^');
}

Value word_count(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter 'wordcount'", args, {});
  std::string_view text = to_text(runtime, subject).text();
  runtime.charge_bytes(8 * text.size());
  std::int64_t words = 0;
  bool inside = false;
  while (!text.empty()) {
    const utf8::Decoded c = utf8::decode(text);
    const bool is_word = c.code_point == '_' || is_alnum(c.code_point);
    words += is_word && !inside ? 1 : 0;
    inside = is_word;
    text.remove_prefix(static_cast<std::size_t>(c.length));
  }
  return Value::of(words);
}

Value indent(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter 'indent'", args, {"width", "first", "blank"});
  if (subject.is_undefined()) runtime.fault_undefined(subject);
  if (!subject.is_string())
    runtime.fault("filter 'indent' expects a string, got {}", type_name(subject));
  TextBuilder prefix(runtime);
  if (bound.has(0) && bound[0].is_string()) {
    prefix.append(bound[0].text());
  } else {
    prefix.append_repeated(" ", bound.integer(0, 4));
  }
  const bool blank = bound.flag(2, false);
  const Value ended = runtime.concat(subject, "\n");
  const std::vector<Value> lines = split_lines(runtime, ended.text(), false);
  TextBuilder out(runtime);
  if (bound.flag(1, false)) out.append(prefix.str());
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out.append("\n");
    if (i > 0 && (blank || !lines[i].text().empty())) out.append(prefix.str());
    out.append(lines[i].text());
  }
  return out.finish();
}

Value truncate(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter 'truncate'", args, {"length", "killwords", "end", "leeway"});
  const std::int64_t length = bound.integer(0, 255);
  const Value end = bound.has(2) ? to_text(runtime, bound[2]) : runtime.text("...");
  const std::int64_t leeway = bound.given(3) ? bound.integer(3, 5) : 5;
  const std::int64_t kept = length - end.string->length;
  if (kept < 0) runtime.fault("expected length >= {}, got {}", end.string->length, length);
  if (leeway < 0) runtime.fault("expected leeway >= 0, got {}", leeway);
  const auto size = length_of(subject);
  if (size.has_value() && *size - leeway <= length) return subject;
  if (!subject.is_string())
    runtime.fault("filter 'truncate' expects a string, got {}", type_name(subject));
  std::string_view text = subject.text().substr(0, byte_offset(subject.text(), kept));
  const std::size_t space = bound.flag(1, false) ? std::string_view::npos : text.rfind(' ');
  if (space != std::string_view::npos) text = text.substr(0, space);
  return runtime.concat(runtime.text(text), end.text());
}

Value format(Runtime& runtime, const Value& subject, Args& args) {
  if (!args.positional.empty() && !args.named.empty())
    runtime.fault("can't handle positional and keyword arguments at the same time");
  Value values = runtime.tuple(args.positional);
  if (!args.named.empty()) {
    values = runtime.new_dict();
    for (const auto& [name, value] : args.named)
      dict_set(runtime, *values.dict, runtime.text(name), value);
  }
  return format_percent(runtime, to_text(runtime, subject), values);
}

Value join(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter 'join'", args, {"d", "attribute"});
  std::vector<Value> items = to_vector(runtime, subject);
  if (bound.given(1))
    for (Value& item : items) item = get_path(runtime, item, bound[1]);
  return join_values(runtime, bound.text(0, ""), items, false);
}

constexpr std::array kFilters{
    Method{"upper", mapped<to_upper>},
    Method{"lower", mapped<to_lower>},
    Method{"capitalize", mapped<capitalize>},
    Method{"title", mapped<title_words>},
    Method{"trim", trim},
    Method{"replace", replace},
    Method{"string", string},
    Method{"center", center},
    Method{"wordcount", word_count},
    Method{"indent", indent},
    Method{"truncate", truncate},
    Method{"format", format},
    Method{"join", join},
};

}  // namespace

std::span<const Method> text_filters() { return kFilters; }

}  // namespace tenon::jinja
