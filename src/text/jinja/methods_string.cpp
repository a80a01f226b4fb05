// String methods: case, stripping, searching, replacing, classes.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>

#include "core/utf8.h"
#include "text/jinja/arguments.h"
#include "text/jinja/items.h"
#include "text/jinja/methods.h"
#include "text/jinja/operators.h"
#include "text/jinja/unicode.h"

namespace tenon::jinja {
namespace {

template <std::string (*Map)(std::string_view)>
Value mapped(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound(runtime, "str method", args, {});
  runtime.charge_bytes(16 * self.text().size());
  runtime.arena.require(8 * self.text().size());
  return runtime.text(Map(self.text()));
}

template <Side kSide>
Value strip(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound(runtime, "strip()", args, {"chars"});
  runtime.charge_bytes(self.text().size());
  if (!bound.given(0)) return runtime.text_view(strip_space(self.text(), kSide));
  const std::string_view set = bound.string(0);
  runtime.charge(self.text().size() / 64 * (set.size() + 1));
  return runtime.text_view(strip_set(self.text(), set, kSide));
}

/// The text between the optional start and end arguments, and the bytes before it.
struct Window {
  std::string_view text;
  std::size_t offset = 0;
  bool valid = true;  ///< false where start lies past the end: nothing is found there
};

Window window(Runtime& runtime, const Value& self, const Bound& bound, std::size_t first) {
  Window result{self.text()};
  if (!bound.given(first) && !bound.given(first + 1)) return result;
  const std::int64_t start = bound.given(first) ? bound.integer(first, 0) : 0;
  result.valid = start <= self.string->length;
  const Value part = slice(runtime, self, bound.get(first), bound.get(first + 1), Value::none());
  if (part.text().empty()) {
    const std::int64_t begin = start < 0 ? std::max<std::int64_t>(start + self.string->length, 0)
                                         : std::min(start, self.string->length);
    result.offset = byte_offset(self.text(), begin);
    result.text = {};
    return result;
  }
  result.text = part.text();
  const std::int64_t begin =
      start < 0 ? std::max<std::int64_t>(start + self.string->length, 0) : start;
  result.offset = byte_offset(self.text(), begin);
  return result;
}

std::int64_t search(Runtime& runtime, const Value& self, Args& args, bool from_right,
                    std::string_view who) {
  const Bound bound(runtime, who, args, {"sub", "start", "end"}, 1);
  const Window in = window(runtime, self, bound, 1);
  const std::string_view needle = bound.string(0);
  if (!in.valid) return -1;
  std::size_t place = std::string_view::npos;
  if (!from_right) {
    place = find_text(runtime, in.text, needle);
  } else {
    // rfind may compare the needle at every place: bound the product, not the sum.
    runtime.charge(in.text.size() * (needle.size() / 64 + 1) / 64);
    place = in.text.rfind(needle);
  }
  if (place == std::string_view::npos) return -1;
  return code_point_count(self.text().substr(0, in.offset + place));
}

template <bool kRight, bool kMust>
Value find(Runtime& runtime, const Value& self, Args& args) {
  const std::int64_t place = search(runtime, self, args, kRight, "find()");
  if (kMust && place < 0) runtime.fault("substring not found");
  return Value::of(place);
}

Value count(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound(runtime, "count()", args, {"sub", "start", "end"}, 1);
  const Window in = window(runtime, self, bound, 1);
  const std::string_view needle = bound.string(0);
  if (!in.valid) return Value::of(std::int64_t{0});
  if (needle.empty()) return Value::of(code_point_count(in.text) + 1);
  std::int64_t found = 0;
  for (std::string_view rest = in.text;; ++found) {
    const std::size_t place = find_text(runtime, rest, needle);
    if (place == std::string_view::npos) break;
    rest.remove_prefix(place + needle.size());
  }
  return Value::of(found);
}

template <bool kEnd>
Value starts_or_ends(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound(runtime, kEnd ? "endswith()" : "startswith()", args, {"prefix", "start", "end"},
                    1);
  const Window in = window(runtime, self, bound, 1);
  const auto matches = [&](const Value& affix) {
    if (affix.is_undefined()) runtime.fault_undefined(affix);
    if (!affix.is_string())
      runtime.fault("startswith first arg must be str or a tuple of str, not {}", type_name(affix));
    runtime.charge_bytes(affix.text().size());
    return in.valid && (kEnd ? in.text.ends_with(affix.text()) : in.text.starts_with(affix.text()));
  };
  if (!bound[0].is(Kind::kTuple)) return Value::of(matches(bound[0]));
  const auto& options = bound[0].sequence->items;
  return Value::of(std::any_of(options.begin(), options.end(), matches));
}

Value replace(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound(runtime, "replace()", args, {"old", "new", "count"}, 2);
  return replace_text(runtime, self.text(), bound.string(0), bound.string(1), bound.integer(2, -1));
}

template <bool kSuffix>
Value remove_affix(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound(runtime, "removeprefix()", args, {"affix"}, 1);
  std::string_view text = self.text();
  const std::string_view affix = bound.string(0);
  if (!kSuffix && text.starts_with(affix)) text.remove_prefix(affix.size());
  if (kSuffix && text.ends_with(affix)) text.remove_suffix(affix.size());
  return runtime.text_view(text);
}

/// True where there is a character and all satisfy the predicate.
template <bool (*Predicate)(char32_t)>
Value all_are(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound(runtime, "str method", args, {});
  runtime.charge_bytes(8 * self.text().size());
  std::string_view rest = self.text();
  if (rest.empty()) return Value::of(false);
  while (!rest.empty()) {
    const utf8::Decoded c = utf8::decode(rest);
    if (!Predicate(c.code_point)) return Value::of(false);
    rest.remove_prefix(static_cast<std::size_t>(c.length));
  }
  return Value::of(true);
}

bool is_ascii(char32_t c) { return c < 0x80; }

Value is_ascii_text(Runtime& runtime, const Value& self, Args& args) {
  return self.text().empty() ? Value::of(true) : all_are<is_ascii>(runtime, self, args);
}

Value is_printable_text(Runtime& runtime, const Value& self, Args& args) {
  return self.text().empty() ? Value::of(true) : all_are<is_printable>(runtime, self, args);
}

/// No character of the forbidden case, at least one of the wanted case.
bool only_case(std::string_view text, bool (*wanted)(char32_t), bool (*forbidden)(char32_t)) {
  bool found = false;
  while (!text.empty()) {
    const utf8::Decoded c = utf8::decode(text);
    if (forbidden(c.code_point) || is_title(c.code_point)) return false;
    found = found || wanted(c.code_point);
    text.remove_prefix(static_cast<std::size_t>(c.length));
  }
  return found;
}

template <bool (*Predicate)(std::string_view)>
Value case_is(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound(runtime, "str method", args, {});
  runtime.charge_bytes(8 * self.text().size());
  return Value::of(Predicate(self.text()));
}

bool is_titled(std::string_view text) {
  bool inside = false;
  bool found = false;
  while (!text.empty()) {
    const utf8::Decoded c = utf8::decode(text);
    const bool starts = is_upper(c.code_point) || is_title(c.code_point);
    if (starts ? inside : (is_lower(c.code_point) && !inside)) return false;
    inside = is_cased(c.code_point);
    found = found || inside;
    text.remove_prefix(static_cast<std::size_t>(c.length));
  }
  return found;
}

constexpr std::array kMethods{
    Method{"upper", mapped<to_upper>},
    Method{"lower", mapped<to_lower>},
    Method{"casefold", mapped<fold_case>},
    Method{"title", mapped<to_title>},
    Method{"capitalize", mapped<capitalize>},
    Method{"swapcase", mapped<swap_case>},
    Method{"strip", strip<Side::kBoth>},
    Method{"lstrip", strip<Side::kLeft>},
    Method{"rstrip", strip<Side::kRight>},
    Method{"find", find<false, false>},
    Method{"rfind", find<true, false>},
    Method{"index", find<false, true>},
    Method{"rindex", find<true, true>},
    Method{"count", count},
    Method{"startswith", starts_or_ends<false>},
    Method{"endswith", starts_or_ends<true>},
    Method{"replace", replace},
    Method{"removeprefix", remove_affix<false>},
    Method{"removesuffix", remove_affix<true>},
    Method{"isalpha", all_are<is_letter>},
    Method{"isalnum", all_are<is_alnum>},
    Method{"isdigit", all_are<is_digit_like>},
    Method{"isdecimal", all_are<is_decimal>},
    Method{"isnumeric", all_are<is_numeric>},
    Method{"isspace", all_are<is_space>},
    Method{"isascii", is_ascii_text},
    Method{"isprintable", is_printable_text},
    Method{"isupper", case_is<is_all_upper>},
    Method{"islower", case_is<is_all_lower>},
    Method{"istitle", case_is<is_titled>},
};

}  // namespace

bool is_all_upper(std::string_view text) { return only_case(text, is_upper, is_lower); }
bool is_all_lower(std::string_view text) { return only_case(text, is_lower, is_upper); }

std::span<const Method> string_methods() { return kMethods; }

Value replace_text(Runtime& runtime, std::string_view text, std::string_view from,
                   std::string_view to, std::int64_t count) {
  TextBuilder out(runtime);
  std::uint64_t left = count < 0 ? UINT64_MAX : static_cast<std::uint64_t>(count);
  if (from.empty()) {  // before each character, and at the end
    while (left > 0) {
      --left;
      out.append(to);
      if (text.empty()) break;
      const std::size_t length = first_length(text);
      runtime.charge(1);
      out.append(text.substr(0, length));
      text.remove_prefix(length);
    }
    out.append(text);
    return out.finish();
  }
  for (; left > 0; --left) {
    const std::size_t place = find_text(runtime, text, from);
    if (place == std::string_view::npos) break;
    runtime.charge(1);
    out.append(text.substr(0, place));
    out.append(to);
    text.remove_prefix(place + from.size());
  }
  out.append(text);
  return out.finish();
}

}  // namespace tenon::jinja
