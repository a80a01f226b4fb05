// String methods that take texts apart and put them together.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>

#include "core/utf8.h"
#include "text/jinja/arguments.h"
#include "text/jinja/items.h"
#include "text/jinja/methods.h"
#include "text/jinja/operators.h"
#include "text/jinja/repr.h"
#include "text/jinja/unicode.h"

namespace tenon::jinja {
namespace {

/// Charges for one more piece of a split text and keeps it.
void add_piece(Runtime& runtime, std::vector<Value>& pieces, std::string_view piece) {
  runtime.charge(1);
  pieces.push_back(runtime.text_view(piece));
}

std::vector<Value> split_space(Runtime& runtime, std::string_view text, std::uint64_t left) {
  std::vector<Value> pieces;
  for (;;) {
    text = strip_space(text, Side::kLeft);
    if (text.empty()) return pieces;
    if (left == 0) {
      add_piece(runtime, pieces, text);
      return pieces;
    }
    std::size_t length = 0;
    while (length < text.size()) {
      const utf8::Decoded c = utf8::decode(text.substr(length));
      if (is_space(c.code_point)) break;
      length += static_cast<std::size_t>(c.length);
    }
    add_piece(runtime, pieces, text.substr(0, length));
    text.remove_prefix(length);
    --left;
  }
}

std::vector<Value> split_space_right(Runtime& runtime, std::string_view text, std::uint64_t left) {
  std::vector<Value> pieces;
  for (;;) {
    text = strip_space(text, Side::kRight);
    if (text.empty()) break;
    if (left == 0) {
      add_piece(runtime, pieces, text);
      break;
    }
    std::size_t start = 0;  // behind the last white space
    runtime.charge_bytes(text.size());
    for (std::size_t i = 0; i < text.size();) {
      const utf8::Decoded c = utf8::decode(text.substr(i));
      i += static_cast<std::size_t>(c.length);
      if (is_space(c.code_point)) start = i;
    }
    add_piece(runtime, pieces, text.substr(start));
    text = text.substr(0, start);
    --left;
  }
  std::reverse(pieces.begin(), pieces.end());
  return pieces;
}

std::vector<Value> split_by(Runtime& runtime, std::string_view text, std::string_view separator,
                            std::uint64_t left) {
  std::vector<Value> pieces;
  for (; left > 0; --left) {
    const std::size_t place = find_text(runtime, text, separator);
    if (place == std::string_view::npos) break;
    add_piece(runtime, pieces, text.substr(0, place));
    text.remove_prefix(place + separator.size());
  }
  add_piece(runtime, pieces, text);
  return pieces;
}

std::vector<Value> split_by_right(Runtime& runtime, std::string_view text,
                                  std::string_view separator, std::uint64_t left) {
  std::vector<Value> pieces;
  for (; left > 0; --left) {
    runtime.charge(text.size() / 64 * (separator.size() / 64 + 1));
    const std::size_t place = text.rfind(separator);
    if (place == std::string_view::npos) break;
    add_piece(runtime, pieces, text.substr(place + separator.size()));
    text = text.substr(0, place);
  }
  add_piece(runtime, pieces, text);
  std::reverse(pieces.begin(), pieces.end());
  return pieces;
}

template <bool kRight>
Value split(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound(runtime, "split()", args, {"sep", "maxsplit"});
  runtime.charge_bytes(self.text().size());
  const std::int64_t limit = bound.integer(1, -1);
  const std::uint64_t left = limit < 0 ? UINT64_MAX : static_cast<std::uint64_t>(limit);
  if (!bound.given(0))
    return runtime.list(kRight ? split_space_right(runtime, self.text(), left)
                               : split_space(runtime, self.text(), left));
  const std::string_view separator = bound.string(0);
  if (separator.empty()) runtime.fault("empty separator");
  return runtime.list(kRight ? split_by_right(runtime, self.text(), separator, left)
                             : split_by(runtime, self.text(), separator, left));
}

template <bool kRight>
Value partition(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound(runtime, "partition()", args, {"sep"}, 1);
  const std::string_view separator = bound.string(0);
  if (separator.empty()) runtime.fault("empty separator");
  const std::vector<Value> pieces = kRight ? split_by_right(runtime, self.text(), separator, 1)
                                           : split_by(runtime, self.text(), separator, 1);
  const Value empty = runtime.text_view({}, 0);
  if (pieces.size() == 2) return runtime.tuple({pieces[0], bound[0], pieces[1]});
  return runtime.tuple(kRight ? std::vector<Value>{empty, empty, self}
                              : std::vector<Value>{self, empty, empty});
}

Value lines(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound(runtime, "splitlines()", args, {"keepends"});
  return runtime.list(split_lines(runtime, self.text(), bound.flag(0, false)));
}

Value join(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound(runtime, "join()", args, {"iterable"}, 1);
  return join_values(runtime, self.text(), to_vector(runtime, bound[0]), true);
}

template <char kAlign>
Value pad(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound(runtime, "padding", args, {"width", "fillchar"}, 1);
  const std::string_view fill = bound.has(1) ? bound.string(1) : " ";
  if (code_point_count(fill) != 1)
    runtime.fault("The fill character must be exactly one character long");
  return pad_text(runtime, self, bound.integer(0, 0), fill, kAlign);
}

Value zero_fill(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound(runtime, "zfill()", args, {"width"}, 1);
  std::string_view text = self.text();
  const std::string_view sign =
      text.starts_with('-') || text.starts_with('+') ? text.substr(0, 1) : std::string_view();
  text.remove_prefix(sign.size());
  TextBuilder out(runtime);
  out.append(sign);
  out.append_repeated("0", bound.integer(0, 0) - self.string->length);
  out.append(text);
  return out.finish();
}

Value expand_tabs(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound(runtime, "expandtabs()", args, {"tabsize"});
  const std::int64_t size = bound.integer(0, 8);
  TextBuilder out(runtime);
  std::int64_t column = 0;
  for (std::string_view rest = self.text(); !rest.empty();) {
    const std::size_t length = first_length(rest);
    runtime.charge(1);
    if (rest[0] == '\t') {
      const std::int64_t spaces = size > 0 ? size - column % size : 0;
      out.append_repeated(" ", spaces);
      column += spaces;
    } else {
      out.append(rest.substr(0, length));
      column = rest[0] == '\n' || rest[0] == '\r' ? 0 : column + 1;
    }
    rest.remove_prefix(length);
  }
  return out.finish();
}

Value format(Runtime& runtime, const Value& self, Args& args) {
  return format_braces(runtime, self.text(), args);
}

Value format_map(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound(runtime, "format_map()", args, {"mapping"}, 1);
  if (!bound[0].is(Kind::kDict))
    runtime.fault("format_map() expects a mapping, got {}", type_name(bound[0]));
  Args named;
  for (const auto& [key, value] : bound[0].dict->items)
    if (key.is_string()) named.named.emplace_back(key.text(), value);
  return format_braces(runtime, self.text(), named);
}

Value unsupported(Runtime& runtime, const Value&, Args&) {
  fail_at(runtime.site, ErrorCode::kUnsupported,
          "str methods on bytes and tables (encode, translate, …) are not supported");
}

constexpr std::array kMethods{
    Method{"encode", unsupported},
    Method{"translate", unsupported},
    Method{"maketrans", unsupported},
    Method{"isidentifier", unsupported},
    Method{"split", split<false>},
    Method{"rsplit", split<true>},
    Method{"splitlines", lines},
    Method{"partition", partition<false>},
    Method{"rpartition", partition<true>},
    Method{"join", join},
    Method{"center", pad<'^'>},
    Method{"ljust", pad<'<'>},
    Method{"rjust", pad<'>'>},
    Method{"zfill", zero_fill},
    Method{"expandtabs", expand_tabs},
    Method{"format", format},
    Method{"format_map", format_map},
};

}  // namespace

std::span<const Method> string_split_methods() { return kMethods; }

std::vector<Value> split_lines(Runtime& runtime, std::string_view text, bool keep_ends) {
  runtime.charge_bytes(text.size());
  std::vector<Value> pieces;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < text.size();) {
    const utf8::Decoded c = utf8::decode(text.substr(i));
    const std::size_t end = i;
    i += static_cast<std::size_t>(c.length);
    if (!is_line_break(c.code_point)) continue;
    if (c.code_point == '\r' && i < text.size() && text[i] == '\n') ++i;
    add_piece(runtime, pieces, text.substr(begin, (keep_ends ? i : end) - begin));
    begin = i;
  }
  if (begin < text.size()) add_piece(runtime, pieces, text.substr(begin));
  return pieces;
}

Value join_values(Runtime& runtime, std::string_view separator, const std::vector<Value>& items,
                  bool strings_only) {
  TextBuilder out(runtime);
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out.append(separator);
    if (strings_only && !items[i].is_string())
      runtime.fault("sequence item {}: expected str instance, {} found", i, type_name(items[i]));
    append_text(out, runtime, items[i]);
  }
  return out.finish();
}

Value pad_text(Runtime& runtime, const Value& text, std::int64_t width, std::string_view fill,
               char align) {
  const std::int64_t space = std::max<std::int64_t>(width - text.string->length, 0);
  std::int64_t left = align == '<' ? 0 : space;
  // Python puts the odd one out to the left when the width is odd.
  if (align == '^') left = space / 2 + (space & width & 1);
  TextBuilder out(runtime);
  out.append_repeated(fill, left);
  out.append(text.text());
  out.append_repeated(fill, space - left);
  return out.finish();
}

}  // namespace tenon::jinja
