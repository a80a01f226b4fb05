// SPDX-License-Identifier: Apache-2.0
#include "ops/value_type.h"

#include <charconv>
#include <string_view>

#include "core/check.h"

namespace tenon {
namespace {

constexpr std::string_view kSymbols = "?TSLE";  // in the order of Symbol
constexpr std::size_t kMaxDims = 8;
constexpr std::int64_t kMaxExtent = std::int64_t{1} << 40;

DataType exact_data_type(std::string_view name, std::string_view text, std::string_view where) {
  for (int i = 0; i <= static_cast<int>(DataType::kBool); ++i)
    if (name == to_string(static_cast<DataType>(i))) return static_cast<DataType>(i);
  fail(ErrorCode::kCorrupt, "{}: \"{}\" is no type: unknown element type \"{}\"", where, text,
       name);
}

Dim parse_dim(std::string_view token, std::string_view text, std::string_view where) {
  if (token.size() == 1 && token[0] != '?')
    if (const auto at = kSymbols.find(token[0]); at != std::string_view::npos)
      return static_cast<Symbol>(at);
  std::int64_t extent = -1;
  const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), extent);
  TENON_CHECK(error == std::errc() && end == token.data() + token.size() && extent > 0 &&
                  extent <= kMaxExtent,
              ErrorCode::kCorrupt,
              "{}: \"{}\" is no type: \"{}\" is neither a positive extent nor T, S, L or E", where,
              text, token);
  return extent;
}

}  // namespace

std::string to_string(const ValueType& type) {
  if (type.kind == ValueKind::kCache) return "cache";
  std::string out = fmt::format("{} [", to_string(type.dtype));
  for (std::size_t i = 0; i < type.shape.size(); ++i) {
    const Dim& dim = type.shape[i];
    if (i > 0) out += ", ";
    if (dim.is_constant())
      out += std::to_string(dim.extent);
    else
      out += kSymbols[static_cast<std::size_t>(dim.symbol)];
  }
  return out + "]";
}

ValueType parse_value_type(std::string_view text, std::string_view where) {
  if (text == "cache") return ValueType::cache();
  TENON_CHECK(text.size() <= 256, ErrorCode::kCorrupt, "{}: a type of {} characters", where,
              text.size());
  const auto open = text.find(" [");
  TENON_CHECK(open != std::string_view::npos && text.back() == ']', ErrorCode::kCorrupt,
              "{}: \"{}\" is no type, expected one such as \"float32 [T, 576]\"", where, text);
  const DataType dtype = exact_data_type(text.substr(0, open), text, where);
  std::string_view rest = text.substr(open + 2, text.size() - open - 3);
  std::vector<Dim> shape;
  while (!rest.empty()) {
    const auto comma = rest.find(", ");
    TENON_CHECK(shape.size() < kMaxDims && !rest.ends_with(", "), ErrorCode::kCorrupt,
                "{}: \"{}\" is no type: more than {} dimensions, or one that is empty", where, text,
                kMaxDims);
    shape.push_back(parse_dim(rest.substr(0, comma), text, where));
    rest = comma == std::string_view::npos ? std::string_view{} : rest.substr(comma + 2);
  }
  return ValueType::tensor(dtype, std::move(shape));
}

}  // namespace tenon
