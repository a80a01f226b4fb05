// json.dumps(): the tojson filter's work.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "core/utf8.h"
#include "text/jinja/dict.h"
#include "text/jinja/operators.h"
#include "text/jinja/repr.h"

namespace tenon::jinja {
namespace {

class JsonWriter {
 public:
  JsonWriter(Runtime& runtime, const JsonStyle& style)
      : runtime_(runtime), style_(style), out_(runtime) {}

  void write(const Value& value, int depth);
  Value finish() { return out_.finish(); }

 private:
  void write_string(std::string_view text);
  void write_escaped(char32_t c);
  void write_array(const Value& value, int depth);
  void write_object(const DictObject& dict, int depth);
  void write_key(const Value& key);
  void line(int depth);
  std::string number(double value) const;

  Runtime& runtime_;
  const JsonStyle& style_;
  TextBuilder out_;
};

void JsonWriter::write_escaped(char32_t c) {
  switch (c) {
    case '"': out_.append("\\\""); return;
    case '\\': out_.append("\\\\"); return;
    case '\n': out_.append("\\n"); return;
    case '\r': out_.append("\\r"); return;
    case '\t': out_.append("\\t"); return;
    case '\f': out_.append("\\f"); return;
    case '\b': out_.append("\\b"); return;
    default: break;
  }
  auto code = static_cast<std::uint32_t>(c);
  if (code > 0xFFFF) {
    code -= 0x10000;
    out_.append(fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (code >> 10), 0xDC00 + (code & 0x3FF)));
  } else {
    out_.append(fmt::format("\\u{:04x}", code));
  }
}

void JsonWriter::write_string(std::string_view text) {
  runtime_.charge_bytes(text.size());
  out_.append("\"");
  std::size_t plain = 0;  // start of what needs no escape
  for (std::size_t i = 0; i < text.size();) {
    const utf8::Decoded c = utf8::decode(text.substr(i));
    const char32_t code = c.code_point;
    const bool escape = code < 0x20 || code == '"' || code == '\\' || (style_.ascii && code > 0x7E);
    const std::size_t after = i + static_cast<std::size_t>(c.length);
    if (escape) {
      out_.append(text.substr(plain, i - plain));
      write_escaped(code);
      plain = after;
    }
    i = after;
  }
  out_.append(text.substr(plain));
  out_.append("\"");
}

std::string JsonWriter::number(double value) const {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  return format_float(value);
}

void JsonWriter::line(int depth) {
  if (!style_.pretty) return;
  out_.append("\n");
  out_.append_repeated(style_.indent, depth);
}

void JsonWriter::write_array(const Value& value, int depth) {
  const auto& items = value.sequence->items;
  out_.append("[");
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out_.append(style_.item_separator);
    line(depth + 1);
    write(items[i], depth + 1);
  }
  if (!items.empty()) line(depth);
  out_.append("]");
}

void JsonWriter::write_key(const Value& key) {
  switch (key.kind) {
    case Kind::kString: write_string(key.text()); return;
    case Kind::kBool: out_.append(key.boolean ? "\"true\"" : "\"false\""); return;
    case Kind::kNone: out_.append("\"null\""); return;
    case Kind::kInt: out_.append(fmt::format("\"{}\"", key.integer)); return;
    case Kind::kFloat: out_.append("\"" + number(key.real) + "\""); return;
    default: runtime_.fault("tojson: keys must be strings or numbers, got {}", type_name(key));
  }
}

void JsonWriter::write_object(const DictObject& dict, int depth) {
  std::vector<const std::pair<Value, Value>*> members;
  for (const auto& member : dict.items) members.push_back(&member);
  if (style_.sort_keys)
    std::stable_sort(members.begin(), members.end(), [&](const auto* a, const auto* b) {
      return compare(runtime_, Op::kLess, a->first, b->first);
    });
  out_.append("{");
  for (std::size_t i = 0; i < members.size(); ++i) {
    if (i > 0) out_.append(style_.item_separator);
    line(depth + 1);
    write_key(members[i]->first);
    out_.append(style_.key_separator);
    write(members[i]->second, depth + 1);
  }
  if (!members.empty()) line(depth);
  out_.append("}");
}

void JsonWriter::write(const Value& value, int depth) {
  runtime_.charge(1);
  if (depth > kMaxValueDepth)
    fail_at(runtime_.site, ErrorCode::kResourceExhausted, "tojson: a value nests more than {} deep",
            kMaxValueDepth);
  const Runtime::Nest nest(runtime_);
  switch (value.kind) {
    case Kind::kNone: out_.append("null"); return;
    case Kind::kBool: out_.append(value.boolean ? "true" : "false"); return;
    case Kind::kInt: out_.append(std::to_string(value.integer)); return;
    case Kind::kFloat: out_.append(number(value.real)); return;
    case Kind::kString: write_string(value.text()); return;
    case Kind::kList:
    case Kind::kTuple: write_array(value, depth); return;
    case Kind::kDict: write_object(*value.dict, depth); return;
    default: runtime_.fault("Object of type {} is not JSON serializable", type_name(value));
  }
}

}  // namespace

Value to_json(Runtime& runtime, const Value& value, const JsonStyle& style) {
  JsonWriter writer(runtime, style);
  writer.write(value, 0);
  return writer.finish();
}

}  // namespace tenon::jinja
