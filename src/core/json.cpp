// SPDX-License-Identifier: Apache-2.0
#include "core/json.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "core/check.h"
#include "core/utf8.h"

namespace tenon {
namespace {

/// Builds a Json value from nlohmann's events; the first fault stops the parse.
class Builder : public nlohmann::json_sax<nlohmann::json> {
 public:
  Builder(std::string_view where, const JsonLimits& limits) : where_(where), limits_(limits) {}

  Json take() { return std::move(root_); }

  bool null() override { return add(Json()); }
  bool boolean(bool value) override { return add(Json(value)); }
  bool number_integer(number_integer_t value) override { return add(Json(std::int64_t{value})); }
  bool number_unsigned(number_unsigned_t value) override { return add(Json(std::uint64_t{value})); }
  bool number_float(number_float_t value, const string_t&) override { return add(Json(value)); }
  bool string(string_t& value) override { return add(Json(std::move(value))); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool key(string_t& key) override {
    keys_.push_back(std::move(key));
    return true;
  }
  bool end_object() override {
    const Json::Object& members = stack_.back().as_object("object");
    std::unordered_set<std::string_view> seen;
    seen.reserve(members.size());
    for (const auto& [key, value] : members)
      TENON_CHECK(seen.insert(key).second, ErrorCode::kCorrupt, "{}: the key \"{}\" stands twice",
                  where_, key);
    return close();
  }
  bool end_array() override { return close(); }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    fail(ErrorCode::kCorrupt, "{}: not valid JSON at byte {}: {}", where_, position, error.what());
  }

 private:
  bool open(Json container) {
    TENON_CHECK(stack_.size() < limits_.max_depth, ErrorCode::kCorrupt,
                "{}: nested deeper than {} levels", where_, limits_.max_depth);
    stack_.push_back(std::move(container));
    return true;
  }
  bool close() {
    Json done = std::move(stack_.back());
    stack_.pop_back();
    return add(std::move(done));
  }
  bool add(Json value) {
    if (stack_.empty()) {
      root_ = std::move(value);
    } else if (stack_.back().is_array()) {
      stack_.back().mutable_array().push_back(std::move(value));
    } else {
      stack_.back().mutable_object().emplace_back(std::move(keys_.back()), std::move(value));
      keys_.pop_back();
    }
    return true;
  }

  std::string_view where_;
  JsonLimits limits_;
  std::vector<Json> stack_;
  std::vector<std::string> keys_;
  Json root_;
};

void write_string(std::string_view text, std::string& out) {
  out += '"';
  for (const char c : utf8::replace_invalid(text)) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20)
          out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
        else
          out += c;
    }
  }
  out += '"';
}

void write_double(double value, std::string& out) {
  if (!std::isfinite(value)) {
    out += "null";
    return;
  }
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".eE") == std::string::npos) text += ".0";
  out += text;
}

class Writer {
 public:
  Writer(int indent, std::string& out) : indent_(indent), out_(out) {}

  void write(const Json& value, int depth) {
    if (value.is_null()) {
      out_ += "null";
    } else if (value.is_bool()) {
      out_ += value.as_bool("") ? "true" : "false";
    } else if (value.is_int()) {
      out_ += std::to_string(value.as_int(""));
    } else if (value.is_number()) {
      write_double(value.as_double(""), out_);
    } else if (value.is_string()) {
      write_string(value.as_string(""), out_);
    } else if (value.is_array()) {
      list('[', ']', value.as_array(""), depth, [&](const Json& item) { write(item, depth + 1); });
    } else {
      list('{', '}', value.as_object(""), depth, [&](const Json::Member& member) {
        write_string(member.first, out_);
        out_ += indent_ < 0 ? ":" : ": ";
        write(member.second, depth + 1);
      });
    }
  }

 private:
  template <class Items, class Each>
  void list(char open, char close, const Items& items, int depth, Each&& each) {
    out_ += open;
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_ += ',';
      line(depth + 1);
      each(items[i]);
    }
    if (!items.empty()) line(depth);
    out_ += close;
  }
  void line(int depth) {
    if (indent_ < 0) return;
    out_ += '\n';
    out_.append(static_cast<std::size_t>(indent_ * depth), ' ');
  }

  int indent_;
  std::string& out_;
};

}  // namespace

Json::Json(std::uint64_t value) {
  if (value <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
    value_ = static_cast<std::int64_t>(value);
  else
    value_ = static_cast<double>(value);
}

Json Json::parse(std::string_view text, std::string_view where, const JsonLimits& limits) {
  TENON_CHECK(text.size() <= limits.max_bytes, ErrorCode::kCorrupt,
              "{}: {} bytes of JSON, more than the limit of {}", where, text.size(),
              limits.max_bytes);
  Builder builder(where, limits);
  nlohmann::json::sax_parse(text.begin(), text.end(), &builder);
  return builder.take();
}

std::string Json::dump(int indent) const {
  std::string out;
  Writer(indent, out).write(*this, 0);
  return out;
}

const char* Json::kind_name() const {
  static constexpr const char* kNames[] = {"null",   "boolean", "integer", "number",
                                           "string", "array",   "object"};
  return kNames[value_.index()];
}

namespace {
template <class T, class Variant>
const T& expect(const Variant& value, const char* expected, const char* got,
                std::string_view what) {
  const T* found = std::get_if<T>(&value);
  TENON_CHECK(found != nullptr, ErrorCode::kCorrupt, "{}: expected {}, got {}", what, expected,
              got);
  return *found;
}
}  // namespace

bool Json::as_bool(std::string_view what) const {
  return expect<bool>(value_, "true or false", kind_name(), what);
}

std::int64_t Json::as_int(std::string_view what) const {
  if (const double* real = std::get_if<double>(&value_);
      real && std::trunc(*real) == *real && std::fabs(*real) < 9.0e15)
    return static_cast<std::int64_t>(*real);
  return expect<std::int64_t>(value_, "an integer", kind_name(), what);
}

double Json::as_double(std::string_view what) const {
  if (is_int()) return static_cast<double>(std::get<std::int64_t>(value_));
  return expect<double>(value_, "a number", kind_name(), what);
}

const std::string& Json::as_string(std::string_view what) const {
  return expect<std::string>(value_, "a string", kind_name(), what);
}

const Json::Array& Json::as_array(std::string_view what) const {
  return expect<Array>(value_, "an array", kind_name(), what);
}

const Json::Object& Json::as_object(std::string_view what) const {
  return expect<Object>(value_, "an object", kind_name(), what);
}

Json::Array& Json::mutable_array(std::string_view what) {
  if (is_null()) value_ = Array{};
  return const_cast<Array&>(as_array(what));
}

Json::Object& Json::mutable_object(std::string_view what) {
  if (is_null()) value_ = Object{};
  return const_cast<Object&>(as_object(what));
}

const Json* Json::find(std::string_view key) const {
  if (const Object* members = std::get_if<Object>(&value_))
    for (const auto& [name, value] : *members)
      if (name == key) return &value;
  return nullptr;
}

const Json& Json::at(std::string_view key, std::string_view what) const {
  const Json* member = find(key);
  TENON_CHECK(member != nullptr, ErrorCode::kCorrupt, "{}: \"{}\" is missing", what, key);
  return *member;
}

void Json::set(std::string_view key, Json value) {
  Object& members = mutable_object(key);
  for (auto& [name, old] : members)
    if (name == key) {
      old = std::move(value);
      return;
    }
  members.emplace_back(std::string(key), std::move(value));
}

void Json::push_back(Json value) { mutable_array().push_back(std::move(value)); }

}  // namespace tenon
