// str() and repr() of every kind of value.
// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/repr.h"

#include <charconv>
#include <cmath>

#include "core/utf8.h"
#include "text/jinja/dict.h"
#include "text/jinja/items.h"
#include "text/jinja/macro.h"
#include "text/jinja/unicode.h"

namespace tenon::jinja {
namespace {

void append_escaped(std::string& out, char32_t c) {
  const auto code = static_cast<std::uint32_t>(c);
  switch (c) {
    case '\n': out += "\\n"; return;
    case '\r': out += "\\r"; return;
    case '\t': out += "\\t"; return;
    case '\\': out += "\\\\"; return;
    default: break;
  }
  if (is_printable(c)) {
    utf8::append(out, c);
  } else if (code < 0x100) {
    out += fmt::format("\\x{:02x}", code);
  } else if (code < 0x10000) {
    out += fmt::format("\\u{:04x}", code);
  } else {
    out += fmt::format("\\U{:08x}", code);
  }
}

void append_items(TextBuilder& out, Runtime& runtime, const Value& value, int depth) {
  ItemSource items(runtime, value);
  Value item;
  for (bool first = true; items.next(item); first = false) {
    if (!first) out.append(", ");
    append_repr(out, runtime, item, depth + 1);
  }
}

void append_dict(TextBuilder& out, Runtime& runtime, const DictObject& dict, int depth) {
  out.append("{");
  bool first = true;
  for (const auto& [key, value] : dict.items) {
    if (!first) out.append(", ");
    first = false;
    append_repr(out, runtime, key, depth + 1);
    out.append(": ");
    append_repr(out, runtime, value, depth + 1);
  }
  out.append("}");
}

void append_container(TextBuilder& out, Runtime& runtime, const Value& value, int depth) {
  const Runtime::Nest nest(runtime);
  if (depth > kMaxValueDepth)
    fail_at(runtime.site, ErrorCode::kResourceExhausted,
            "a value nests more than {} deep and cannot be printed", kMaxValueDepth);
  switch (value.kind) {
    case Kind::kList:
      out.append("[");
      append_items(out, runtime, value, depth);
      out.append("]");
      return;
    case Kind::kTuple:
      out.append("(");
      append_items(out, runtime, value, depth);
      out.append(value.sequence->items.size() == 1 ? ",)" : ")");
      return;
    case Kind::kDict: append_dict(out, runtime, *value.dict, depth); return;
    case Kind::kView:
      out.append(type_name(value));
      out.append("([");
      append_items(out, runtime, value, depth);
      out.append("])");
      return;
    default:
      out.append("<Namespace ");
      append_dict(out, runtime, *value.name_space->members, depth);
      out.append(">");
  }
}

std::string describe_object(const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined: return "Undefined";
    case Kind::kNone: return "None";
    case Kind::kBool: return value.boolean ? "True" : "False";
    case Kind::kInt: return std::to_string(value.integer);
    case Kind::kFloat: return format_float(value.real);
    case Kind::kString: return quote(value.text());
    case Kind::kRange: {
      const RangeObject& range = *value.range;
      if (range.step == 1) return fmt::format("range({}, {})", range.start, range.stop);
      return fmt::format("range({}, {}, {})", range.start, range.stop, range.step);
    }
    case Kind::kMacro:
      return value.macro->signature->name.empty()
                 ? "<Macro anonymous>"
                 : fmt::format("<Macro {}>", quote(value.macro->signature->name));
    case Kind::kFunction: return fmt::format("<built-in function {}>", value.function->name);
    default: return fmt::format("<{} object>", type_name(value));
  }
}

}  // namespace

std::string format_float(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char digits[40];
  // Scientific form gives the shortest digits; Python then picks its own layout.
  const auto end =
      std::to_chars(digits, digits + sizeof digits, value, std::chars_format::scientific);
  const std::string_view text(digits, static_cast<std::size_t>(end.ptr - digits));
  const std::size_t mark = text.find('e');
  int exponent = 0;
  const char* exponent_begin = text.data() + mark + 1 + (text[mark + 1] == '+' ? 1 : 0);
  std::from_chars(exponent_begin, end.ptr, exponent);
  if (exponent >= -4 && exponent < 16) {
    const auto fixed =
        std::to_chars(digits, digits + sizeof digits, value, std::chars_format::fixed);
    std::string out(digits, fixed.ptr);
    if (out.find('.') == std::string::npos) out += ".0";
    return out;
  }
  return fmt::format("{}e{}{:02d}", text.substr(0, mark), exponent < 0 ? '-' : '+',
                     exponent < 0 ? -exponent : exponent);
}

std::string quote(std::string_view text) {
  const bool single = text.find('\'') != std::string_view::npos;
  const char mark = single && text.find('"') == std::string_view::npos ? '"' : '\'';
  std::string out(1, mark);
  for (std::size_t i = 0; i < text.size();) {
    const utf8::Decoded c = utf8::decode(text.substr(i));
    i += static_cast<std::size_t>(c.length);
    if (c.code_point == static_cast<unsigned char>(mark)) out += '\\';
    append_escaped(out, c.code_point);
  }
  out += mark;
  return out;
}

std::string quick_repr(const Value& value) {
  if (value.is_string()) return quote(value.text().substr(0, byte_offset(value.text(), 80)));
  return describe_object(value);
}

void append_repr(TextBuilder& out, Runtime& runtime, const Value& value, int depth) {
  runtime.charge(1);
  switch (value.kind) {
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kDict:
    case Kind::kView:
    case Kind::kNamespace: append_container(out, runtime, value, depth); return;
    case Kind::kString:
      runtime.charge_bytes(8 * value.text().size());
      runtime.arena.require(value.text().size());
      if (value.string->markup) out.append("Markup(");
      out.append(quote(value.text()));
      if (value.string->markup) out.append(")");
      return;
    default: out.append(describe_object(value));
  }
}

void append_text(TextBuilder& out, Runtime& runtime, const Value& value) {
  if (value.is_undefined()) return;
  if (value.is_string()) {
    out.append(value.text());
  } else {
    append_repr(out, runtime, value);
  }
}

Value to_text(Runtime& runtime, const Value& value) {
  if (value.is_string()) return value;
  TextBuilder out(runtime);
  append_text(out, runtime, value);
  return out.finish();
}

Value repr(Runtime& runtime, const Value& value) {
  TextBuilder out(runtime);
  append_repr(out, runtime, value);
  return out.finish();
}

}  // namespace tenon::jinja
