// Storing, reading, comparing and describing ops: all generic over fields().
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdlib>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>

#include "core/check.h"
#include "core/json.h"
#include "core/nearest_name.h"
#include "ops/op_list.h"

namespace tenon {
namespace {

template <class T>
concept HasFields = requires { T::fields(); };

template <class T>
concept NamedEnum = std::is_enum_v<T> && !kEnumNames<T>.empty();

std::span<const char* const> data_type_names() {
  static const auto names = [] {
    std::vector<const char*> all;
    for (int i = 0; i <= static_cast<int>(DataType::kBool); ++i)
      all.push_back(to_string(static_cast<DataType>(i)));
    return all;
  }();
  return names;
}

template <class T>
std::span<const char* const> names_of() {
  if constexpr (std::same_as<T, DataType>)
    return data_type_names();
  else
    return kEnumNames<T>;
}

template <class T, class Each>
void for_each_field(Each&& each) {
  std::apply([&](const auto&... field) { (each(field), ...); }, T::fields());
}

// ---- writing

/// The shortest decimal that gives `value` back: 1e-05, not 9.999999747378752e-06.
Json write(float value) {
  const double shortest = std::strtod(fmt::format("{}", value).c_str(), nullptr);
  return static_cast<float>(shortest) == value ? shortest : static_cast<double>(value);
}
Json write(bool value) { return value; }
Json write(std::int64_t value) { return value; }

template <class T>
  requires std::is_enum_v<T>
Json write(T value) {
  return names_of<T>()[static_cast<std::size_t>(value)];
}

template <class T>
Json write(const std::vector<T>& values) {
  Json list = Json::array();
  for (const T& value : values) list.push_back(write(value));
  return list;
}

template <HasFields T>
void write_members(const T& op, Json& object);

template <HasFields T>
Json write(const T& op) {
  Json object = Json::object();
  write_members(op, object);
  return object;
}

template <HasFields T>
void write_members(const T& op, Json& object) {
  for_each_field<T>([&](const auto& f) { object.set(f.name, write(op.*(f.member))); });
}

// ---- reading

void read(const Json& json, std::string_view where, std::int64_t& out) { out = json.as_int(where); }
void read(const Json& json, std::string_view where, bool& out) { out = json.as_bool(where); }
void read(const Json& json, std::string_view where, float& out) {
  const double value = json.as_double(where);
  // A little above the largest float still rounds to it; its shortest decimal is such a number.
  constexpr double kLargest = static_cast<double>(std::numeric_limits<float>::max()) * (1 + 2e-8);
  TENON_CHECK(std::fabs(value) <= kLargest, ErrorCode::kCorrupt, "{}: {} does not fit float32",
              where, value);
  out = static_cast<float>(value);
}

template <class T>
  requires std::is_enum_v<T>
void read(const Json& json, std::string_view where, T& out) {
  const std::string& text = json.as_string(where);
  const auto names = names_of<T>();
  for (std::size_t i = 0; i < names.size(); ++i)
    if (text == names[i]) {
      out = static_cast<T>(i);
      return;
    }
  const std::vector<std::string> known(names.begin(), names.end());
  fail(ErrorCode::kCorrupt, "{}: unknown value \"{}\"{}", where, text, did_you_mean(text, known));
}

template <class T>
void read(const Json& json, std::string_view where, std::vector<T>& out) {
  const Json::Array& list = json.as_array(where);
  out.resize(list.size());
  for (std::size_t i = 0; i < list.size(); ++i) read(list[i], where, out[i]);
}

template <HasFields T>
void read_members(const Json& json, std::string_view where, T& out, bool tagged);

template <HasFields T>
void read(const Json& json, std::string_view where, T& out) {
  read_members(json, where, out, false);
}

/// `tagged`: the object has the member "op" beside the fields.
template <HasFields T>
void read_members(const Json& json, std::string_view where, T& out, bool tagged) {
  std::vector<std::string> known;
  for_each_field<T>([&](const auto& f) {
    known.emplace_back(f.name);
    const std::string place = fmt::format("{}: [{}] {}", where, T::kName, f.name);
    read(json.at(f.name, fmt::format("{}: [{}]", where, T::kName)), place, out.*(f.member));
  });
  for (const auto& [name, value] : json.as_object(where)) {
    if ((tagged && name == "op") || std::ranges::find(known, name) != known.end()) continue;
    fail(ErrorCode::kCorrupt, "{}: [{}] has no field \"{}\"{}", where, T::kName, name,
         did_you_mean(name, known));
  }
}

/// The alternative of Op whose kName is `name`, with default fields; false where there is none.
template <std::size_t I = 0>
bool emplace_named(std::string_view name, Op& out, std::vector<std::string>& known) {
  if constexpr (I == std::variant_size_v<Op>) {
    return false;
  } else {
    using T = std::variant_alternative_t<I, Op>;
    known.emplace_back(T::kName);
    if (name == T::kName) {
      out.emplace<I>();
      return true;
    }
    return emplace_named<I + 1>(name, out, known);
  }
}

// ---- comparing

template <class T>
bool same(const T& a, const T& b) {
  if constexpr (HasFields<T>) {
    bool equal = true;
    for_each_field<T>([&](const auto& f) { equal = equal && same(a.*(f.member), b.*(f.member)); });
    return equal;
  } else {
    return a == b;
  }
}

// ---- describing

template <class T>
std::string describe_value(const T& value) {
  if constexpr (std::same_as<T, bool>) {
    return value ? "true" : "false";
  } else if constexpr (std::is_enum_v<T>) {
    return names_of<T>()[static_cast<std::size_t>(value)];
  } else {
    return fmt::format("{}", value);
  }
}

/// Short: a table of frequencies would drown the line.
template <class T>
std::string describe_value(const std::vector<T>& values) {
  constexpr std::size_t kShown = 8;
  std::string out = "[";
  for (std::size_t i = 0; i < std::min(values.size(), kShown); ++i)
    out += (i > 0 ? "," : "") + describe_value(values[i]);
  if (values.size() > kShown) out += fmt::format(",… {} in all", values.size());
  return out + "]";
}

/// What is off says nothing: false, no list, a factor of 0. (Integers count; their 0 is shown.)
template <class T>
bool is_off(const T& value) {
  if constexpr (std::same_as<T, bool> || std::same_as<T, float>)
    return value == T{};
  else if constexpr (requires { value.empty(); })
    return value.empty();
  else
    return false;
}

template <HasFields T>
void describe_members(const T& op, const std::string& prefix, std::string& out) {
  for_each_field<T>([&](const auto& f) {
    const auto& value = op.*(f.member);
    if constexpr (HasFields<std::remove_cvref_t<decltype(value)>>) {
      describe_members(value, prefix + f.name + ".", out);
    } else if (!is_off(value)) {
      if (!out.empty()) out += ' ';
      out += prefix + f.name + '=' + describe_value(value);
    }
  });
}

}  // namespace

Json to_json(const Op& op) {
  Json object = Json::object();
  object.set("op", name_of(op));
  std::visit([&](const auto& held) { write_members(held, object); }, op);
  return object;
}

Op op_from_json(const Json& json, std::string_view where) {
  const std::string& name = json.at("op", where).as_string(fmt::format("{}: op", where));
  Op op;
  std::vector<std::string> known;
  if (!emplace_named(name, op, known))
    fail(ErrorCode::kCorrupt, "{}: unknown op \"{}\"{}", where, name, did_you_mean(name, known));
  std::visit([&](auto& held) { read_members(json, where, held, true); }, op);
  return op;
}

bool same_op(const Op& a, const Op& b) {
  if (a.index() != b.index()) return false;
  return std::visit(
      [&](const auto& held) {
        return same(held, std::get<std::remove_cvref_t<decltype(held)>>(b));
      },
      a);
}

std::string describe(const Op& op) {
  std::string out;
  std::visit([&](const auto& held) { describe_members(held, "", out); }, op);
  return out;
}

}  // namespace tenon
